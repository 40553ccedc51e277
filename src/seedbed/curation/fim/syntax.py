"""Syntax nodes of a source file that can be a middle: statements, blocks, arguments, expressions, functions, comments."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING

from seedbed.curation.fim.draws import Draws
from seedbed.curation.repositories.languages import Language, languages
from seedbed.errors import SeedbedError

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

PROBES = 24
"""At so many random places of a piece, the nodes around the place are candidates."""
_LEAST_BYTES = 3
_MOST_DEPTH = 300

_FUNCTIONS = frozenset(
    (
        *("function_definition", "function_declaration", "function_item", "function_expression", "arrow_function"),
        *("method_definition", "method_declaration", "method", "singleton_method", "constructor_declaration"),
        *("lambda", "lambda_expression", "closure_expression", "func_literal", "generator_function_declaration"),
    )
)
_STATEMENTS = frozenset(
    (
        *("assignment", "if", "unless", "while", "until", "for", "case", "when", "return", "module", "class", "begin"),
        *("rescue", "ensure", "yield"),
    )
)
_STATEMENT_ENDS = ("_statement", "_declaration", "_definition", "_item", "_clause")
_BODIES = frozenset(
    (
        *("block", "statement_block", "compound_statement", "body_statement", "class_body", "declaration_list"),
        *("field_declaration_list", "do_block", "do_group", "interface_body", "enum_body", "constructor_body", "then"),
        *("switch_block", "match_block", "object", "dictionary", "hash", "statement_list"),
    )
)
_ARGUMENTS = frozenset(
    (
        *("argument_list", "arguments", "parameters", "formal_parameters", "parameter_list", "method_parameters"),
        *("type_parameters", "type_arguments", "template_argument_list", "lambda_parameters", "block_parameters"),
    )
)
_EXPRESSIONS = frozenset(
    (
        *("call", "attribute", "subscript", "list", "tuple", "set", "array", "string", "binary_operator", "await"),
        *("boolean_operator", "comparison_operator", "not_operator", "unary_operator", "conditional_expression"),
        *("list_comprehension", "dictionary_comprehension", "generator_expression", "binary", "conditional", "pair"),
        *("method_invocation", "object_creation_expression", "composite_literal", "template_string", "array_literal"),
        *(
            "macro_invocation",
            "command_substitution",
            "string_literal",
            "interpreted_string_literal",
            "keyword_argument",
        ),
    )
)


def require() -> None:
    """Raise SeedbedError, with what to install, unless syntax trees can be read."""
    try:
        importlib.import_module("tree_sitter")
        _load("tree_sitter_python:language")
    except ImportError as error:
        raise SeedbedError(
            f"Syntax trees of source files need a package that is not installed ({error.name}).",
            "Install it: pip install 'seedbed[prepare]'.",
        ) from error


@cache
def kind_of(node_type: str) -> str | None:
    """The kind of a node by its type in the grammar; None for nodes that are never a middle by themselves."""
    if node_type in _FUNCTIONS:
        return "function"
    if "comment" in node_type:
        return "comment"
    if node_type in _BODIES or node_type.endswith(("_body", "_block")):
        return "body"
    if node_type in _ARGUMENTS:
        return "arguments"
    if node_type in _EXPRESSIONS or node_type.endswith("_expression"):
        return "expression"
    if node_type in _STATEMENTS or node_type.endswith(_STATEMENT_ENDS):
        return "statement"
    return None


def parse(content: bytes, language: Language) -> Tree | None:
    """The syntax tree of a file in UTF-8; None for a language without a grammar."""
    parser = _parser(language.name)
    return None if parser is None else parser.parse(content)


def candidates(tree: Tree, begin: int, end: int, draws: Draws) -> dict[str, list[tuple[int, int]]]:
    """Nodes that can be a middle of the piece from byte `begin` to before `end`, as byte ranges, by their kind.

    They are those around `PROBES` random places, of at most half the piece. Nodes with a syntax error, and all within one,
    are left out.
    """
    most = (end - begin) // 2
    found: dict[str, list[tuple[int, int]]] = {}
    seen: set[tuple[int, int]] = set()
    for _ in range(PROBES if end > begin else 0):
        at = begin + draws.below(end - begin)
        for kind, span in _around(tree.root_node, at, begin, end, most):
            if span not in seen:
                seen.add(span)
                found.setdefault(kind, []).append(span)
    return found


def _around(root: Node, at: int, begin: int, end: int, most: int) -> list[tuple[str, tuple[int, int]]]:
    """The nodes of a kind around a byte, from large to small, down to a syntax error or `_MOST_DEPTH` levels.

    It goes down from the root: `Node.parent` looks for the parent from the root each time, which takes minutes for a file
    with brackets that are nested 100,000 times.
    """
    found = []
    cursor = root.walk()
    for _ in range(_MOST_DEPTH):
        node = cursor.node
        if node is None or node.is_error or node.start_byte > at:
            break
        size = node.end_byte - node.start_byte
        inside = node.start_byte >= begin and node.end_byte <= end
        if inside and node.is_named and _LEAST_BYTES <= size <= most and not node.has_error:
            kind = kind_of(node.type)
            if kind is not None:
                found.append((kind, (node.start_byte, node.end_byte)))
        if cursor.goto_first_child_for_byte(at) is None:
            break
    return found


@cache
def _parser(name: str) -> Parser | None:
    row = languages().get(name)
    if row is None or row.grammar is None:
        return None
    return _load(row.grammar)


def _load(grammar: str) -> Parser:
    """The parser of a grammar, `package:function`. Raises ImportError if the package is not installed."""
    from tree_sitter import Language as Grammar
    from tree_sitter import Parser

    package, _, function = grammar.partition(":")
    return Parser(Grammar(getattr(importlib.import_module(package), function)()))
