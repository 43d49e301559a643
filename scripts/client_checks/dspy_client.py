# begin configuration
import dspy

model = dspy.LM(
    "openai/self-consistency", api_base="http://127.0.0.1:8000/v1", api_key="none", max_tokens=100
)
dspy.configure(lm=model)
# end configuration

assert model("What is 17 * 23?")[0]
print("done: call")

assert len(model("What is 17 * 23?", n=2, temperature=0.9)) == 2
print("done: several answers")


class FirstLine(dspy.Adapter):
    """An adapter for scripted texts, which do not follow DSPy's own formats."""

    def format(self, signature, demos, inputs):
        return [{"role": "user", "content": inputs["question"]}]

    def parse(self, signature, completion):
        return {"answer": completion.splitlines()[-1]}


dspy.configure(adapter=FirstLine())
assert "answer" in dspy.Predict("question -> answer")(question="What is 17 * 23?").answer
print("done: predict")
