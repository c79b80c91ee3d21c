#include "pipeline/instance_vars.h"

#include <gtest/gtest.h>

namespace pinion::pipeline {
namespace {

std::string TextOf(const std::string& json) {
  return InstanceVarsText(ParseJson(json).value());
}

TEST(InstanceVarsTest, ArePutInOrderAndFlattened) {
  EXPECT_EQ(TextOf(R"({"b":1,"a":{"y":true,"x":"text"}})"), "a.x:text,a.y:true,b:1");
  EXPECT_EQ(TextOf(R"({"list":[{"b":1,"a":2}],"none":{}})"), R"(list:[{"a":2,"b":1}],none:{})");
  EXPECT_EQ(TextOf("null"), "");
}

TEST(InstanceVarsTest, TextsAreQuotedWhereTheyCouldBeReadAsSomethingElse) {
  EXPECT_EQ(TextOf(R"({"a":"main","b":"1","c":"x:y","d":"two words"})"),
            R"(a:main,b:"1",c:"x:y",d:"two words")");
}

}  // namespace
}  // namespace pinion::pipeline
