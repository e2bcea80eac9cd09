// What cmake/json/nlohmann/json.hpp declares.
#include <nlohmann/json.hpp>

#define HEARTH_JSON_TEMPLATE template
#include "json/json_templates.h"
