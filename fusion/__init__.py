"""What fusion is: events, encoders, the model, the execution contract, decisions and quality.

Knows no engine, no HTTP and no Redis.
"""
