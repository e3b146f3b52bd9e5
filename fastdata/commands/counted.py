"""Numbers of things, in words."""


def counted(count: int, one: str) -> str:
    """As "1 shard" or "3,000 shards"; `one` takes an s."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"
