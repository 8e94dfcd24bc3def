"""Things that hang together: the connected components of a graph, by union-find."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class UnionFind(Generic[T]):
    """Members joined two by two; a member that was never joined is a group of its own."""

    def __init__(self, members: Iterable[T]) -> None:
        self._parent = {member: member for member in members}

    def union(self, one: T, other: T) -> None:
        """Put two members, and all that hang on them, into one group."""
        self._parent[self._find(one)] = self._find(other)

    def groups(self) -> list[list[T]]:
        """The groups, members and groups in the order the members were given."""
        groups: dict[T, list[T]] = {}
        for member in self._parent:
            groups.setdefault(self._find(member), []).append(member)
        return list(groups.values())

    def _find(self, member: T) -> T:
        while (parent := self._parent[member]) != member:
            self._parent[member] = self._parent[parent]  # halves the way of the next question
            member = parent
        return member
