cat > task.py <<'PYTHON'
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def sums():
    rows = [(a, b) for a in range(3) for b in range(2)]
    return Task(
        dataset=[Sample(input=f"What is {a} + {b}?", target=str(a + b)) for a, b in rows],
        solver=generate(),
        scorer=includes(),
    )
PYTHON
# begin configuration
export ARCHON_BASE_URL=http://127.0.0.1:8000/v1 ARCHON_API_KEY=none
inspect eval task.py --model openai-api/archon/self-consistency --max-tokens 100 --display plain
# end configuration
inspect log list --status success --json > logs.json
grep -q sums logs.json
echo "done: eval"
inspect eval task.py --model openai-api/archon/single --temperature 0.5 --epochs 2 --display none
echo "done: epochs"
