from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

# begin configuration
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

model = ChatOpenAI(
    model="self-consistency", base_url="http://127.0.0.1:8000/v1", api_key="none", max_tokens=100
)
# end configuration

answer = model.invoke("What is 17 * 23?")
assert answer.content
assert answer.usage_metadata["output_tokens"]
print("done: chat")

assert "".join(chunk.content for chunk in model.stream("What is 17 * 23?"))
print("done: stream")

assert len(model.batch(["What is 1 + 1?", "What is 2 + 2?"])) == 2
print("done: batch")

weather = {
    "name": "weather",
    "description": "Get the weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
    },
}
options = {"base_url": "http://127.0.0.1:8000/v1", "api_key": "none", "temperature": 0}
caller = ChatOpenAI(model="qwen2.5-coder-0.5b", max_tokens=60, **options)
question = HumanMessage("What is the weather in Rome?")
reply = caller.bind_tools([weather], tool_choice="weather").invoke([question])
assert isinstance(reply, AIMessage)
assert reply.tool_calls[0]["args"]["city"] in ("Paris", "Rome")
result = ToolMessage("21 degrees", tool_call_id=reply.tool_calls[0]["id"])
assert caller.invoke([question, reply, result]).content
print("done: tools")

city = {"title": "city", **weather["parameters"], "additionalProperties": False}
form = caller.with_structured_output(city, method="json_schema")
assert form.invoke("Name a city.")["city"] in ("Paris", "Rome")
print("done: structured output")

# begin configuration
embedder = OpenAIEmbeddings(
    model="all-minilm-l6-v2",
    base_url="http://127.0.0.1:8000/v1",
    api_key="none",
    check_embedding_ctx_length=False,  # texts, not token ids of another model
)
# end configuration
assert len(embedder.embed_query("A cat.")) == 384
print("done: embeddings")
