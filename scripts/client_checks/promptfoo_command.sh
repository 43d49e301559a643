cat > promptfooconfig.yaml <<'YAML'
# begin configuration
providers:
  - id: openai:chat:self-consistency
    config:
      apiBaseUrl: http://127.0.0.1:8000/v1
      apiKey: none
      max_tokens: 100
      temperature: 0.7
# end configuration
prompts: ["What is {{a}} + {{b}}?"]
tests:
  - vars: {a: 2, b: 3}
    assert: [{type: icontains, value: answer}]
  - vars: {a: 4, b: 5}
    assert: [{type: icontains, value: answer}]
YAML
export PROMPTFOO_DISABLE_TELEMETRY=1 PROMPTFOO_DISABLE_UPDATE=1 PROMPTFOO_CONFIG_DIR=$PWD/state
promptfoo eval --no-cache --no-progress-bar -o out.json
grep -q '"successes": 2' out.json
echo "done: eval"
