"""What a program can ask of the machine around it: clocks, random numbers, ids. A function of the seed alone.

Both engines ask in the same order and so get the same answers. The numbers mean nothing; they only have the
kernel's types and ranges.
"""

_MASK = (1 << 64) - 1
HZ = 250  # jiffies a second, as Debian's kernels have them


class Environment:
    """Deterministic answers. Asking for the time moves it on, so that a program that waits gets there."""

    def __init__(self, seed: int) -> None:
        self.state = seed & _MASK
        self.start = 60_000_000_000 + (self.random64() & 0xFFFFFFFF)
        self.ticks = 0

    def random64(self) -> int:
        """The next 64 random bits (splitmix64)."""
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
        return z ^ (z >> 31)

    def random32(self) -> int:
        """bpf_get_prandom_u32."""
        return self.random64() >> 32

    def now(self) -> int:
        """Nanoseconds since boot; each question is 1 us after the last."""
        self.ticks += 1
        return self.start + 1000 * self.ticks

    def glance(self) -> int:
        """The time, which does not move on: for a question that only one of the engines asks."""
        return self.start + 1000 * self.ticks

    def jiffies(self) -> int:
        """The 64-bit jiffies counter, whose low half wraps five minutes after boot, as the kernel's does."""
        return ((1 << 32) - 300 * HZ + (self.start + 1000 * self.ticks) * HZ // 1_000_000_000) & _MASK

    @property
    def cpu(self) -> int:
        """The CPU that programs run on."""
        return 0

    @property
    def pid_tgid(self) -> int:
        """bpf_get_current_pid_tgid: process 4242 with one thread."""
        return 4242 << 32 | 4242

    @property
    def uid_gid(self) -> int:
        """bpf_get_current_uid_gid: root."""
        return 0

    @property
    def comm(self) -> bytes:
        """bpf_get_current_comm, without its padding."""
        return b"bpfemu"
