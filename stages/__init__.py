"""The algorithms: each stage decides what to remove or trains what is left; none reads or writes a run folder."""

STAGES = {
    "finetune": "stages.finetune:Finetune",
    "prune_heads": "stages.prune_heads:PruneHeads",
    "distill": "stages.distill:Distill",
    "prune_ffn": "stages.prune_ffn:PruneFfn",
    "sparsify": "stages.sparsify:Sparsify",
}
"""What a recipe's ``uses:`` may name; readable without importing torch."""

PRUNERS = {
    "MovementPruner": "stages.own_loop:MovementPruner",
    "Sparsifier": "stages.sparsify:Sparsifier",
    "TaylorPruner": "stages.own_loop:TaylorPruner",
}
"""The pruners for a training loop of one's own: ``from pipeline import MovementPruner``."""
