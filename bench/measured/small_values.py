"""The small objects of support/store-values.mjs, in Python."""


def small_values():
    record = {f"field{n}": f"value {n}" if n % 3 == 0 else n * 1.5 for n in range(18)}
    record["tags"] = ["small", "object"]
    record["payload"] = bytes(768)
    return {"bytes": bytes(1024), "record": record}
