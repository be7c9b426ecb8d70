"""What worker processes and replicas share: a Redis, never waited for."""
