"""/v1/responses: OpenAI's run object, with the hosted shell run here."""
