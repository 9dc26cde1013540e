"""The bodies that every Python test server answers with, so that the servers differ in nothing but their framework."""

BIO = "Writes about rivers, bridges and the towns between them. " * 14


def user(user_id: int) -> dict:
    """About 1 KB as JSON."""
    return {
        "id": user_id,
        "name": f"User {user_id}",
        "email": f"user{user_id}@example.com",
        "roles": ["reader", "author"],
        "address": {"street": "1 Long Lane", "city": "Springfield", "postcode": "12345", "country": "XX"},
        "bio": BIO,
    }


def allocate(kb: int) -> dict:
    """Allocates kb KiB in one block (beyond pymalloc's limit of 512 bytes, so libc's malloc sees it)."""
    block = bytearray(kb * 1024)
    return {"kb": kb, "allocated": len(block)}
