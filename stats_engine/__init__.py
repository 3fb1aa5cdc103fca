"""What passes through a task: counted in it, merged over all tasks, kept in SQL, checked by rules, alerted.

A task takes its engine from `engine.engine()`, writes `shards.encode(engine().statistics())` into its output;
`merge.merge_shards` adds the tasks up, `rules.evaluate` judges, `record.record` keeps numbers, alerts and
mails.
"""
