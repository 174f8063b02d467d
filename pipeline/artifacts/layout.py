"""What the files and folders of a run, and of an artifact in it, are called."""

WORK = "work"
RECIPE = "recipe.yaml"
MODEL, SCORES, HISTORY = "model", "scores.safetensors", "metrics.jsonl"
KEEP_PLAN, TOTAL_KEEP_PLAN = "keep_plan.json", "total_keep_plan.json"
