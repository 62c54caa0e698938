"""When work may start: shared GPU slots, windows of time, budgets. Pure decisions; who asks for them is elsewhere."""
