// No guard: included once to declare instantiations and once to make them, as HEARTH_JSON_TEMPLATE
// says.
#define HEARTH_JSON_INPUT(Json, Iterator)                                                      \
  HEARTH_JSON_TEMPLATE class nlohmann::detail::lexer<                                          \
      Json, nlohmann::detail::iterator_input_adapter<Iterator>>;                               \
  HEARTH_JSON_TEMPLATE class nlohmann::detail::parser<                                         \
      Json, nlohmann::detail::iterator_input_adapter<Iterator>>;                               \
  HEARTH_JSON_TEMPLATE bool                                                                    \
  nlohmann::detail::parser<Json, nlohmann::detail::iterator_input_adapter<Iterator>>::         \
      sax_parse_internal(nlohmann::detail::json_sax_dom_parser<Json>*);                        \
  HEARTH_JSON_TEMPLATE bool                                                                    \
  nlohmann::detail::parser<Json, nlohmann::detail::iterator_input_adapter<Iterator>>::         \
      sax_parse_internal(nlohmann::detail::json_sax_dom_callback_parser<Json>*);

#define HEARTH_JSON_KIND(Json)                                            \
  HEARTH_JSON_TEMPLATE class nlohmann::detail::serializer<Json>;          \
  HEARTH_JSON_TEMPLATE class nlohmann::detail::json_sax_dom_parser<Json>; \
  HEARTH_JSON_TEMPLATE class nlohmann::detail::json_sax_dom_callback_parser<Json>; \
  HEARTH_JSON_INPUT(Json, const char*)                                    \
  HEARTH_JSON_INPUT(Json, std::string::const_iterator)                    \
  HEARTH_JSON_TEMPLATE class std::vector<Json>;

HEARTH_JSON_TEMPLATE class nlohmann::basic_json<>;
HEARTH_JSON_TEMPLATE class nlohmann::basic_json<nlohmann::ordered_map>;
HEARTH_JSON_KIND(nlohmann::json)
HEARTH_JSON_KIND(nlohmann::ordered_json)

#undef HEARTH_JSON_KIND
#undef HEARTH_JSON_INPUT
