"""The only place that knows everyone: opens resources, starts tasks, drains, closes."""
