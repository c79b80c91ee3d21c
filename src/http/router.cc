#include "http/router.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/encoding.h"
#include "base/text.h"

namespace pinion::http {

/// One segment of the patterns' tree. Segments are compared as they stand in the path; parameters
/// are decoded after the match.
struct Router::Node {
  struct Route {
    std::string method;
    std::size_t route;
    std::size_t order;  ///< of Add
    std::vector<std::string> names;
  };
  std::map<std::string, std::unique_ptr<Node>, std::less<>> fixed;
  std::unique_ptr<Node> parameter;
  std::vector<Route> here;  ///< patterns that end at this segment
  std::vector<Route> rest;  ///< patterns that end with "*" under this segment
  std::size_t added = 0;    ///< at the root: how many patterns there are
};

namespace {

template <class Node>
struct Search {
  std::string_view method;
  const std::vector<std::string_view>& segments;
  const typename Node::Route* best = nullptr;
  std::vector<std::string_view> best_values;
  std::set<std::string> allowed;
  std::vector<std::string_view> values = {};

  void Consider(const std::vector<typename Node::Route>& routes) {
    for (const auto& route : routes) {
      if (route.method != method) {
        allowed.insert(route.method);
      } else if (!best || route.order < best->order) {
        best = &route;
        best_values = values;
      }
    }
  }

  void Visit(const Node& node, std::size_t depth) {
    if (!node.rest.empty() && depth < segments.size()) {
      const char* from = segments[depth].data();
      values.emplace_back(from, segments.back().data() + segments.back().size());
      Consider(node.rest);
      values.pop_back();
    }
    if (depth == segments.size()) {
      Consider(node.here);
      return;
    }
    const std::string_view segment = segments[depth];
    if (const auto child = node.fixed.find(segment); child != node.fixed.end()) {
      Visit(*child->second, depth + 1);
    }
    if (node.parameter && !segment.empty()) {
      values.push_back(segment);
      Visit(*node.parameter, depth + 1);
      values.pop_back();
    }
  }
};

}  // namespace

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;

void Router::Add(std::string_view method, std::string_view pattern, std::size_t route) {
  Node* node = root_.get();
  Node::Route entry{std::string(method), route, root_->added++, {}};
  const auto segments = Split(pattern, '/');
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::string_view segment = segments[i];
    if (segment == "*" && i + 1 == segments.size()) {
      entry.names.emplace_back("*");
      node->rest.push_back(std::move(entry));
      return;
    }
    std::unique_ptr<Node>& next =
        segment.starts_with(':') ? node->parameter : node->fixed[std::string(segment)];
    if (segment.starts_with(':')) entry.names.emplace_back(segment.substr(1));
    if (!next) next = std::make_unique<Node>();
    node = next.get();
  }
  node->here.push_back(std::move(entry));
}

std::variant<Router::Found, Router::NotFound, Router::MethodNotAllowed> Router::Match(
    std::string_view method, std::string_view path) const {
  const auto segments = Split(path, '/');
  Search<Node> search{method, segments};
  search.Visit(*root_, 0);
  if (search.best) {
    Found found{search.best->route, {}};
    for (std::size_t i = 0; i < search.best->names.size(); ++i) {
      auto value = PercentDecode(search.best_values[i]);
      if (!value) return NotFound{};
      found.params[search.best->names[i]] = std::move(*value);
    }
    return found;
  }
  if (search.allowed.empty()) return NotFound{};
  return MethodNotAllowed{Join({search.allowed.begin(), search.allowed.end()}, ", ")};
}

}  // namespace pinion::http
