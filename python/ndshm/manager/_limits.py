"""What a client takes from a manager, and sends at most: the defaults of Node's. Beyond it the connection is ended."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 2**28
"""Of one message with all that lies beside it."""
MAX_JSON_BYTES = 2**22
"""Of what messages say beside arrays and other values."""
MAX_BUFFERED_BYTES = 2**30
"""Of what waits to be sent; of arrays that come before anybody has said what they are."""
MAX_ARRAY_BYTES = 2**32
"""Of all arrays that are on their way here in pieces."""
MAX_CALLS = 10_000
"""Of the manager, of arrays and signals, at once."""
