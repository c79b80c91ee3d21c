#include "engine/text_params.h"

#include <gtest/gtest.h>

namespace pinion::engine {
namespace {

std::string Converted(std::string_view plan) {
  return ToText(WithTextParams(ValueOrThrow(ParseJson(plan))));
}

TEST(TextParams, ParamsOfTasksAndOfTheirConfigsBecomeTexts) {
  EXPECT_EQ(Converted(R"({"id":"1","task":{"params":{"N":1,"L":[1,"a"],"E":null,"S":"s"},)"
                      R"("config":{"params":{"M":2.5,"B":true}}}})"),
            R"({"id":"1","task":{"params":{"N":"1","L":"[1,\"a\"]","E":"","S":"s"},)"
            R"("config":{"params":{"M":"2.5","B":"true"}}}})");
}

TEST(TextParams, TasksAreFoundInsideOfOtherSteps) {
  EXPECT_EQ(Converted(R"({"ensure":{"step":{"do":[{"in_parallel":{"steps":[)"
                      R"({"task":{"params":{"N":1}}}]}}]},"ensure":{"task":{"params":{"N":2}}}}})"),
            R"({"ensure":{"step":{"do":[{"in_parallel":{"steps":[)"
            R"({"task":{"params":{"N":"1"}}}]}}]},"ensure":{"task":{"params":{"N":"2"}}}}})");
}

TEST(TextParams, WhatOnlyHasTheNamesOfATaskStaysAsItIs) {
  for (const std::string_view plan : {
           R"({"put":{"params":{"task":{"params":{"n":1},"config":{"params":{"n":1}}}}}})",
           R"({"get":{"source":{"task":{"params":{"n":1}}},"params":{"n":1}}})",
           R"({"set_pipeline":{"vars":{"task":{"params":{"n":1}}}}})",
           R"({"task":{"vars":{"params":{"n":1},"task":{"params":{"n":1}}},)"
           R"("config":{"image_resource":{"params":{"n":1},)"
           R"("source":{"config":{"params":{"n":1}}}}}}})",
       }) {
    EXPECT_EQ(Converted(plan), plan);
  }
}

}  // namespace
}  // namespace pinion::engine
