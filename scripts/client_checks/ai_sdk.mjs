// begin configuration
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const archon = createOpenAICompatible({ name: "archon", baseURL: "http://127.0.0.1:8000/v1" });
// end configuration
import assert from "node:assert";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

const prompt = "What is 17 * 23?";
const answer = await generateText({ model: archon("self-consistency"), prompt, maxOutputTokens: 100 });
assert(answer.text);
assert(answer.usage.outputTokens > 0);
console.log("done: chat");

let text = "";
for await (const part of streamText({ model: archon("self-consistency"), prompt }).textStream) text += part;
assert(text);
console.log("done: stream");

const openai = createOpenAI({ baseURL: "http://127.0.0.1:8000/v1", apiKey: "none" });
const reply = await generateText({ model: openai("scripted"), prompt });
assert(reply.text);
text = "";
for await (const part of streamText({ model: openai("scripted"), prompt }).textStream) text += part;
assert(text);
console.log("done: responses");
