#include "serve/openapi.h"

#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "serve/dialects/fields.h"
#include "support/ascii.h"

namespace hearth::serve {
namespace {

using Json = nlohmann::ordered_json;

/// "/v1/models/{model...}" with names as OpenAPI has them, and the parameters in it.
std::string path_of(const std::string& pattern, Json& parameters) {
  std::string path;
  for (std::size_t at = 0; at < pattern.size();) {
    if (pattern[at] != '{') {
      path += pattern[at++];
      continue;
    }
    const std::size_t end = pattern.find('}', at);
    std::string name = pattern.substr(at + 1, end - at - 1);
    if (name.ends_with("...")) name.resize(name.size() - 3);
    path += "{" + name + "}";
    parameters.push_back(
        {{"name", name}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
    at = end + 1;
  }
  return path;
}

/// "post_v1_chat_completions".
std::string operation_id(const Route& route) {
  std::string id = ascii_lower(route.method);
  for (const char c : route.pattern) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (word) {
      id += c;
    } else if (!id.ends_with('_')) {
      id += '_';
    }
  }
  if (id.ends_with('_')) id.pop_back();
  return id;
}

Json content_of(const Route& route) {
  Json content = Json::object();
  for (const std::string& type : route.produces) content[type] = Json::object();
  return content;
}

/// The table of a route's body: that of its path, else the one it names. Empty: it has none.
std::string schema_of(const Route& route) {
  for (const BodyRoute& body : body_routes()) {
    if (body.method == route.method && body.path == route.pattern)
      return std::string(body.body->name);
  }
  return route.body_schema;
}

Json operation_of(const Route& route, const std::map<std::string, Json>& schemas,
                  const Json& parameters) {
  Json operation = {{"operationId", operation_id(route)},
                    {"summary", route.summary},
                    {"tags", Json::array({route.tag})}};
  if (!parameters.empty()) operation["parameters"] = parameters;
  if (const std::string schema = schema_of(route); !schema.empty()) {
    if (!schemas.contains(schema)) throw std::logic_error("no table of fields is called " + schema);
    operation["requestBody"] = {
        {"required", true},
        {"content",
         {{"application/json", {{"schema", {{"$ref", "#/components/schemas/" + schema}}}}}}}};
  } else if (route.streams_body) {
    operation["requestBody"] = {{"content", {{"application/octet-stream", Json::object()}}}};
  }
  operation["responses"] = {{"200", {{"description", "OK"}, {"content", content_of(route)}}},
                            {"4XX", {{"description", "The request is wrong"}}},
                            {"5XX", {{"description", "The server failed, or is busy"}}}};
  if (route.access == Access::kOpen) operation["security"] = Json::array();
  return operation;
}

}  // namespace

std::string openapi_document(const Router& router, std::string_view version) {
  std::map<std::string, Json> schemas;
  for (const BodyRoute& body : body_routes())
    schemas.try_emplace(std::string(body.body->name), json_schema(*body.body));
  Json paths = Json::object();
  for (const Route& route : router.routes()) {
    Json parameters = Json::array();
    const std::string path = path_of(route.pattern, parameters);
    paths[path][ascii_lower(route.method)] = operation_of(route, schemas, parameters);
  }
  Json components = Json::object();
  for (const auto& [name, schema] : schemas) components["schemas"][name] = schema;
  components["securitySchemes"] = {
      {"key", {{"type", "http"}, {"scheme", "bearer"}}},
      {"header", {{"type", "apiKey"}, {"in", "header"}, {"name", "x-api-key"}}}};
  const Json document = {
      {"openapi", "3.1.0"},
      {"info", {{"title", "Hearth"}, {"version", std::string(version)}}},
      {"security", Json::array({{{"key", Json::array()}}, {{"header", Json::array()}}})},
      {"paths", paths},
      {"components", components}};
  return document.dump();
}

}  // namespace hearth::serve
