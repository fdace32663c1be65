"""How sure a share is."""

import math

Z_95 = 1.959964


def wilson(hits: float, of: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share, 95 % by default; (0, 1) when nothing was counted."""
    if of == 0:
        return 0.0, 1.0
    share = hits / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    # Exact at both ends, where rounding would leave the share itself outside.
    return (middle - spread) / scale if hits > 0 else 0.0, (middle + spread) / scale if hits < of else 1.0
