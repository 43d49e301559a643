import json

import openai

# begin configuration
from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
# end configuration

MESSAGES = [{"role": "user", "content": "What is 17 * 23?"}]

answer = client.chat.completions.create(
    model="self-consistency", messages=MESSAGES, max_tokens=100, stop=["\n\n\n"], n=2, seed=1
)
assert len(answer.choices) == 2
assert answer.choices[0].message.content
assert answer.usage.completion_tokens > 2 * 8  # of all samples, not of the answer alone
print("done: chat")

chunks = list(
    client.chat.completions.create(
        model="self-consistency",
        messages=MESSAGES,
        max_tokens=100,
        stop=["\n\n\n"],
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    )
)
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert text == answer.choices[0].message.content
assert chunks[-1].usage.completion_tokens
print("done: stream")

assert "self-consistency" in [model.id for model in client.models.list()]
print("done: models")


def reason(**request):
    """Return the class of a request's error, and its text."""
    try:
        client.chat.completions.create(messages=MESSAGES, **request)
    except (openai.BadRequestError, openai.NotFoundError) as error:
        return type(error), str(error)
    return None, ""


kind, text = reason(model="self-consistency", temperature=9)
assert kind is openai.BadRequestError
assert "temperature" in text
kind, text = reason(model="no-such-model")
assert kind is openai.NotFoundError
assert "no-such-model" in text
print("done: errors")

SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
answer = client.chat.completions.create(
    model="smollm2-135m",
    messages=[{"role": "user", "content": "Name a city."}],
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "city", "schema": SCHEMA, "strict": True},
    },
    max_tokens=40,
    logprobs=True,
    top_logprobs=2,
)
assert json.loads(answer.choices[0].message.content)["city"] in ("Paris", "Rome")
assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2
print("done: JSON schema with logprobs")

TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
message = (
    client.chat.completions.create(
        model="qwen2.5-coder-0.5b",
        messages=[{"role": "user", "content": "What is the weather in Rome?"}],
        tools=[TOOL],
        tool_choice="required",
        temperature=0,
        max_tokens=60,
    )
    .choices[0]
    .message
)
call = message.tool_calls[0]
assert call.function.name == "weather"
assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
answer = client.chat.completions.create(
    model="qwen2.5-coder-0.5b",
    messages=[
        *MESSAGES,
        message,
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"},
    ],
    tools=[TOOL],
    tool_choice="none",
    max_tokens=20,
)
assert answer.choices[0].message.content
print("done: tool calls")

chunks = client.chat.completions.create(
    model="self-consistency",
    messages=MESSAGES,
    stream=True,
    extra_body={"archon": {"progress": True}},
)
deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
assert any((delta.model_extra or {}).get("reasoning_content") for delta in deltas)
print("done: progress as reasoning")

reply = client.responses.create(model="scripted", input="What is 17 * 23?")
assert reply.output_text
again = client.responses.create(model="scripted", input="And 2 + 2?", previous_response_id=reply.id)
assert again.output_text
with client.responses.stream(model="scripted", input="What is 17 * 23?") as events:
    kinds = [event.type for event in events]
    assert events.get_final_response().output_text
assert kinds[0] == "response.created"
assert kinds[-1] == "response.completed"
print("done: responses")

completion = client.completions.create(
    model="smollm2-135m", prompt="The capital of France is", max_tokens=0, echo=True, logprobs=1
)
scores = completion.choices[0].logprobs
assert scores.token_logprobs[0] is None
assert all(logprob <= 0 for logprob in scores.token_logprobs[1:])
print("done: completions with echo")

vectors = client.embeddings.create(model="all-minilm-l6-v2", input=["A cat.", "A kitten."])
assert len(vectors.data[0].embedding) == 384
print("done: embeddings")
