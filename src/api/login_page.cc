#include "api/login_page.h"

#include "base/encoding.h"

namespace pinion::api {

namespace {

constexpr std::string_view kStyle =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem;"
    "color:#1c2733;background:#f6f7f9}"
    "h1{font-size:1.4rem}label{display:block;margin:1rem 0 .25rem}"
    "input{width:100%;box-sizing:border-box;font:inherit;padding:.5rem;border:1px solid #9aa5b1;"
    "border-radius:4px}"
    "button{font:inherit;margin-top:1.25rem;padding:.5rem 1.25rem;border:0;border-radius:4px;"
    "background:#1f5fbf;color:#fff}"
    ".error{color:#a11;margin:1rem 0}code{display:block;word-break:break-all;padding:.75rem;"
    "background:#fff;border:1px solid #d5dae0;border-radius:4px}"
    "@media(prefers-color-scheme:dark){body{background:#14191f;color:#dde3ea}"
    "input,code{background:#1d242c;color:inherit;border-color:#3b4653}.error{color:#ff8a80}}";

std::string Document(std::string_view title, std::string_view head, std::string_view body) {
  std::string html =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">";
  html += "<title>" + EscapeHtml(title) + "</title>";
  html += head;
  html += "<style>";
  html += kStyle;
  html += "</style></head><body><main><h1>" + EscapeHtml(title) + "</h1>";
  html += body;
  html += "</main></body></html>\n";
  return html;
}

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string LoginPage(std::string_view error) {
  std::string body = "<form method=\"post\">";
  if (!error.empty()) {
    body += "<p class=\"error\" role=\"alert\">" + EscapeHtml(error) + "</p>";
  }
  body +=
      "<label for=\"login\">Username</label>"
      "<input id=\"login\" name=\"login\" autocomplete=\"username\" autocapitalize=\"none\" "
      "required"
      " autofocus>"
      "<label for=\"password\">Password</label>"
      "<input id=\"password\" name=\"password\" type=\"password\""
      " autocomplete=\"current-password\" required>"
      "<button type=\"submit\">Log in</button></form>";
  return Document("Log in to Pinion", "", body);
}

std::string MessagePage(std::string_view title, std::string_view text) {
  return Document(title, "", "<p>" + EscapeHtml(text) + "</p>");
}

std::string TokenPage(std::string_view token, std::optional<int> port) {
  std::string head;
  std::string body;
  if (port) {
    const std::string target =
        "http://127.0.0.1:" + std::to_string(*port) + "/?token=" + PercentEncode(token);
    head = "<meta http-equiv=\"refresh\" content=\"0;url=" + EscapeHtml(target) + "\">";
    body = "<p>Handing the token to fly. If nothing happens, <a href=\"" + EscapeHtml(target) +
           "\">hand it over</a> or paste it where fly asks for it:</p>";
  } else {
    body = "<p>Paste this where fly asks for it:</p>";
  }
  body += "<code>" + EscapeHtml(token) + "</code>";
  return Document("Logged in", head, body);
}

}  // namespace pinion::api
