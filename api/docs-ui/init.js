// Nothing but this server is asked: no validator, no fonts, no remote documents.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "list",
  displayRequestDuration: true,
});
