"""The licences of source files, and which are let through."""

from __future__ import annotations

import importlib.metadata
import sysconfig
from pathlib import Path

import pytest

from seedbed.curation.record import Licence
from seedbed.curation.repositories.licences import (
    Licences,
    gate,
    identifiers,
    is_licence_file,
    known_licences,
    licence_in_metadata,
    licence_of_header,
    licence_of_text,
    licence_paths,
)
from seedbed.errors import UsageError

# Packages of the test environment whose metadata name one licence, and that ship its text.
_PACKAGES = {
    "pytest": "MIT",
    "hypothesis": "MPL-2.0",
    "msgspec": "BSD-3-Clause",
    "Pygments": "BSD-2-Clause",
    "shellingham": "ISC",
    "huggingface_hub": "Apache-2.0",
    "requests": "Apache-2.0",
    "xxhash": "BSD-2-Clause",
    "psutil": "BSD-3-Clause",
    "certifi": "MPL-2.0",
}


@pytest.mark.parametrize(("package", "spdx"), _PACKAGES.items())
def test_licence_files_of_real_packages(package: str, spdx: str) -> None:
    try:
        paths = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    texts = [Path(str(each.locate())) for each in paths if is_licence_file(str(each)) and "dist-info" in str(each)]
    if not texts:
        pytest.skip(f"{package} has no licence file")
    assert {licence_of_text(path.read_text(encoding="utf-8")) for path in texts} == {spdx}


def test_a_licence_file_may_name_its_identifier() -> None:
    text = "The project is provided under:\n\n\tSPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note\n\nBeing"
    assert licence_of_text(text) == "GPL-2.0-only WITH Linux-syscall-note"


def test_the_licence_of_pythons_standard_library() -> None:
    path = Path(sysconfig.get_paths()["stdlib"]) / "LICENSE.txt"
    if not path.is_file():
        pytest.skip("the standard library has no LICENSE.txt")
    assert licence_of_text(path.read_text(encoding="utf-8")) == "Python-2.0"


def test_the_licence_of_seedbed() -> None:
    text = (Path(__file__).resolve().parents[3] / "LICENSE").read_text(encoding="utf-8")
    assert licence_of_text(text) == "Apache-2.0"
    assert licence_of_text("All rights reserved.") is None
    assert licence_of_text("") is None


@pytest.mark.parametrize(
    ("header", "spdx"),
    [
        ("// SPDX-License-Identifier: MIT\n", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */\n", "GPL-2.0-only WITH Linux-syscall-note"),
        ("# SPDX-License-Identifier: (MIT OR Apache-2.0)\n", "(MIT OR Apache-2.0)"),
        ("// SPDX-License-Identifier: Apache-2.0 and more text\n", "Apache-2.0"),
        ('# Licensed under the Apache License, Version 2.0 (the "License");\n', "Apache-2.0"),
        (
            "/* This program is free software; you can redistribute it and/or modify it under\n"
            " * the terms of the GNU General Public License as published by the Free Software\n"
            " * Foundation; either version 3 of the License, or (at your option) any later version. */\n",
            "GPL-3.0-or-later",
        ),
        ("# A parser of licence files.\nimport os\n", None),
        ("# Mentions the MIT\n", None),
    ],
)  # fmt: skip
def test_headers(header: str, spdx: str | None) -> None:
    assert licence_of_header(header + "x = 1\n") == spdx


@pytest.mark.parametrize(
    ("name", "text", "spdx"),
    [
        ("pyproject.toml", '[project]\nlicense = "Apache-2.0"\n', "Apache-2.0"),
        ("pyproject.toml", '[project]\nlicense = {text = "MIT"}\n', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {text = "Apache 2.0"}\n', None),
        ("Cargo.toml", '[package]\nlicense = "Unlicense OR MIT"\n', "Unlicense OR MIT"),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"\n', "MIT OR Apache-2.0"),
        ("package.json", '{"license": "ISC"}', "ISC"),
        ("package.json", '{"license": "SEE LICENSE IN x"}', None),
        ("package.json", '{"license": ["MIT"]}', None),
        ("package.json", "{", None),
        ("package.json", "[1]", None),
        ("pyproject.toml", "project = 3\n", None),
    ],
)
def test_package_metadata(name: str, text: str, spdx: str | None) -> None:
    assert licence_in_metadata(name, text) == spdx


def test_the_nearest_statement_counts() -> None:
    mit = (
        "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
        "documentation files ... The above copyright notice and this permission notice shall be included in all copies "
        "or substantial portions of the Software. THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND"
    )  # fmt: skip
    texts = {
        "LICENSE": mit,
        "Cargo.toml": '[package]\nlicense = "Apache-2.0"\n',
        "own/LICENSE": "All rights reserved.",
        "two/LICENSE-MIT": mit,
        "two/UNLICENSE": "This is free and unencumbered software released into the public domain. Anyone is free to copy, "
        "modify, publish, use, compile, sell, or distribute this software",
        "two/Cargo.toml": '[package]\nlicense = "Unlicense OR MIT"\n',
        "both/LICENSE-MIT": mit,
        "both/UNLICENSE": "This is free and unencumbered software released into the public domain. Anyone is free to copy, "
        "modify, publish, use, compile, sell, or distribute this software",
    }
    licences = Licences(licence_paths(texts), texts.get)
    assert licences.of("src/a.rs", "fn main() {}\n") == Licence(spdx="MIT", found_in="LICENSE")
    assert licences.of("own/a.rs", "fn main() {}\n") == Licence(spdx="unknown", found_in="own/LICENSE")
    assert licences.of("two/src/a.rs", "") == Licence(spdx="Unlicense OR MIT", found_in="two/Cargo.toml")
    assert licences.of("both/a.rs", "").spdx == "MIT AND Unlicense"
    assert licences.of("a.rs", "// SPDX-License-Identifier: 0BSD\n") == Licence(spdx="0BSD", found_in="header")
    assert Licences([], texts.get).of("a.py", "") == Licence(spdx="unknown", found_in="")


@pytest.mark.parametrize(
    ("wanted", "spdx", "passes"),
    [
        ("any", "unknown", True),
        ("any", "GPL-3.0-only", True),
        ("permissive", "MIT", True),
        ("permissive", "unknown", False),
        ("permissive", "GPL-3.0-or-later", False),
        ("permissive", "MIT AND GPL-3.0-only", False),
        ("permissive", "MIT OR GPL-3.0-only", True),
        ("permissive", "(MIT OR GPL-2.0-only) AND Apache-2.0", True),
        ("permissive", "Apache-2.0 WITH LLVM-exception", True),
        ("permissive", "MIT AND", False),
        ("permissive", "(MIT", False),
        ("permissive", "MIT MIT", False),
        ("mit, Apache-2.0", "MIT", True),
        ("MIT", "Apache-2.0", False),
        ("GPL-2.0", "GPL-2.0-only", True),
        ("GPL-2.0-only", "GPL-2.0", True),
        ("GPL-2.0+", "GPL-2.0-or-later", True),
        ("GPL-2.0-only", "GPL-2.0-or-later", False),
        ("LicenseRef-Ours", "LicenseRef-Ours", True),
    ],
)
def test_the_gate(wanted: str, spdx: str, passes: bool) -> None:
    assert gate(wanted).lets_through(Licence(spdx=spdx, found_in="")) is passes


def test_what_is_no_identifier_is_refused() -> None:
    with pytest.raises(UsageError, match="SPDX"):
        gate("MIT;rm")


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("MIT,Apache2", "Apache-2.0"),
        ("BSD", "BSD-2-Clause, BSD-3-Clause or BSD-4-Clause"),
        ("gpl-3", "GPL-3.0-only"),
        ("MIT License", "MIT"),
        ("IPSC", "ISC"),
    ],
)
def test_a_name_that_spdx_does_not_know_is_refused_with_what_was_meant(wanted: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean [^?]*{meant}") as raised:
        gate(wanted)
    assert wanted.rpartition(",")[2] in raised.value.message


def test_without_a_similar_name_nothing_is_suggested() -> None:
    with pytest.raises(UsageError, match=r'"Foobarbaz" is not an SPDX identifier.* Write any, permissive'):
        gate("Foobarbaz")


def test_every_licence_that_is_recognised_has_an_identifier_of_spdx() -> None:
    assert set(known_licences()) <= set(identifiers())
