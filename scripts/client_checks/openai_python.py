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
