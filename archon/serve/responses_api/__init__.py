"""OpenAI's Responses API: requests, response objects, events, and the store of responses."""
