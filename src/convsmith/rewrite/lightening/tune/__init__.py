"""Fine-tune a lightened network: distillation, schedules, checkpoints."""
