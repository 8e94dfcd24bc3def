"""Union-find: connected components of a graph."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class UnionFind(Generic[T]):
    """Disjoint sets of members; a member that was never joined is its own group."""

    def __init__(self, members: Iterable[T]) -> None:
        self._parent = {member: member for member in members}

    def union(self, first: T, second: T) -> None:
        """Merge the groups of two members."""
        self._parent[self._find(first)] = self._find(second)

    def groups(self) -> list[list[T]]:
        """All groups; members and groups in insertion order."""
        groups: dict[T, list[T]] = {}
        for member in self._parent:
            groups.setdefault(self._find(member), []).append(member)
        return list(groups.values())

    def _find(self, member: T) -> T:
        while (parent := self._parent[member]) != member:
            self._parent[member] = self._parent[parent]  # path halving
            member = parent
        return member
