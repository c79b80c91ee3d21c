#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace pinion::http {

/// Path parameters, percent-decoded: {"team_name": "main"}.
using PathParams = std::map<std::string, std::string, std::less<>>;

/// Finds the route of a path among patterns such as "/api/v1/teams/:team_name" (":name" one
/// segment, a final "*" the rest). The first pattern added wins. Matching costs grow with the
/// path's length, not with the number of routes.
class Router {
 public:
  Router();
  ~Router();
  Router(Router&&) noexcept;

  /// `route` is what Match gives back, such as an index into the caller's table.
  void Add(std::string_view method, std::string_view pattern, std::size_t route);

  struct Found {
    std::size_t route;
    PathParams params;
  };
  struct NotFound {};
  struct MethodNotAllowed {
    std::string allow;  ///< value of the Allow header
  };
  std::variant<Found, NotFound, MethodNotAllowed> Match(std::string_view method,
                                                        std::string_view path) const;

 private:
  struct Node;
  std::unique_ptr<Node> root_;
};

}  // namespace pinion::http
