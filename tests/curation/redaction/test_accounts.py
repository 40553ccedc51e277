"""Names of accounts in the outputs of ls, tar, stat, ps, id, who and others: those of persons go, those of systems stay."""

from __future__ import annotations

import json

import pytest

import patience
from seedbed.curation.redaction.redactor import RedactionOptions, Redactor
from seedbed.curation.redaction.rules import known_words

REDACTOR = Redactor(bytes(range(32)))

OUTPUTS = {
    "GNU ls": "total 8\ndrwxr-xr-x 2 WHO WHO 4096 Nov  3 12:01 .\n-rw-rw-r-- 1 WHO users    5 Nov  3  2025 a.py\n",
    "GNU ls with inode and blocks": " 131 4 -rwxr-x--- 1 WHO wheel 5 Nov  3 12:01 a.py\n",
    "GNU ls with SELinux": "-rw-rw-r--. 1 WHO WHO unconfined_u:object_r:user_home_t:s0 5 Nov  3 12:01 a.py\n",
    "GNU ls with readable sizes": "-rw-r--r-- 1 root WHO 1.2K 2026-11-03 12:01 a.py\n",
    "GNU ls with full times": "-rw-r--r-- 1 WHO root 12 2026-11-03 12:01:33.123456789 +0100 a.py\n",
    "GNU ls in German": "-rw-r--r-- 1 WHO root 12 3. Nov 12:01 a.py\n-rw-r--r-- 1 WHO root 12 Mär  3 12:01 b.py\n",
    "GNU ls without a group": "-rw-r--r-- 1 WHO 12 Nov  3 12:01 a.py\nlrwxrwxrwx 1 WHO 12 Nov  3 12:01 b -> a\n",
    "devices": "crw--w---- 1 WHO tty 136, 0 Nov  3 12:01 0\nbrw-rw---- 1 root disk 8, 0 Nov  3 12:01 sda\n",
    "macOS ls": "-rw-r--r--@  1 WHO  staff   512 Nov  3 12:01 a.py\ndrwx------+ 63 WHO  staff  2016 3 Nov 12:01 Desktop\n",
    "macOS ls with flags": "drwx------@ 9 WHO  staff  hidden 2016 Nov  3 12:01 Library\n",
    "Git for Windows": "-rw-r--r-- 1 WHO 197121 512 Nov  3 12:01 a.py\n",
    "a domain": "-rw-r--r-- 1 ACME\\WHO domain users 512 Nov  3 12:01 a.py\n",
    "eza": ".rw-r--r-- 1.2k WHO  3 Nov 12:01 a.py\ndrwxr-xr-x    - WHO staff  3 Nov 12:01 src\n",
    "lsd": ".rw-r--r-- WHO users 1.2 KB Mon Nov  3 12:01:33 2026 a.py\n",
    "hdfs": "-rw-r--r--   3 WHO supergroup 512 2026-11-03 12:01 /a\ndrwx------   - WHO hadoop 0 2026-11-03 12:01 /b\n",
    "find -ls": "  9437187      4 drwxr-xr-x   3 WHO  WHO      4096 Nov  3 12:01 ./src\n",
    "tar": "-rw-r--r-- WHO/users 512 2026-11-03 12:01 a.py\ndrwxr-xr-x root/WHO   0 2026-11-03 12:01 src/\n",
    "bsdtar": "-rw-r--r--  0 WHO staff     512 Nov  3 12:01 a.py\n",
    "stat": "Access: (0664/-rw-rw-r--)  Uid: ( 1000/    WHO)   Gid: ( 1000/    WHO)\n",
    "getfacl": "# file: a.py\n# owner: WHO\n# group: WHO\nuser::rw-\n",
    "id": "uid=1000(WHO) gid=1000(WHO) groups=1000(WHO),4(adm),27(sudo),998(docker)\n",
    "macOS id": "uid=501(WHO) gid=20(staff) groups=20(staff),12(everyone),702(com.apple.sharepoint.group.1),33(_appstore)\n",
    "ps aux": "USER  PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND\n"
    "WHO       1234  0.5 12.1 169404 13100 pts/0    Sl+  10:15 120:03 python a.py\n"
    "WHO       1235  101  0.1  19404  1310 ?        R    Nov02   0:00 ps\n",
    "macOS ps aux": "WHO   411   0.0  0.3 34139084  22345   ??  S    10:00AM   0:00.05 /sbin/x\n"
    "WHO   412   0.0  0.3 34139084  22345 s000  S+   Mon10AM   0:00.05 vim\n",
    "ps -ef": "UID  PID  PPID  C STIME TTY  TIME CMD\nWHO     1234       1  0 10:15 ?        00:00:03 /usr/bin/x\n"
    "WHO     1235    1234 99 Nov02 pts/12   1-02:03:04 python a.py\n",
    "top": "   1234 WHO      20   0  169404  13100   8368 S   0.0   0.1   0:03.45 python\n"
    "   1235 WHO      20   0   22.1g   1.3g  12368 R 101.3   4.1  12:03.45 python\n",
    "top with other priorities": "  1235 WHO      23   3  417560 118124  13956 R  50.0   0.5   2:59.61 python\n"
    "  1236 WHO      rt  -2  417560 118124  13956 R  50.0   0.5   2:59.61 python\n",
    "ps -eF": "WHO         1     0  0 11608 16448   0 02:42 ?        00:00:19 /sbin/x\n",
    "ps -efl": "4 S WHO         1     0  0  80   0 - 11608 -      02:42 ?        00:00:19 /sbin/x\n",
    "dates without times": "drwxr-xr-x 2 WHO     WHO      4096 2026-05-09  PackageKit\n",
    "passwd": "WHO:x:1000:1000::/srv/a:/bin/sh\nWHO:*:501:20::/var/x:/bin/sh\n",
    "group": "WHO:x:1000:\nsudo:x:27:ubuntu,WHO\nWHO:x:1001:WHO,root\n",
    "shadow": "WHO:!:19000:0:99999:7:::\n",
    "subuid": "WHO:100000:65536\n",
    "lsof": "node  1234 WHO   23u  IPv4 0x1c8f      0t0  TCP *:3000 (LISTEN)\n"
    "python 77 WHO  cwd    DIR  259,2     4096 131 /srv/app\n",
    "who": "WHO     pts/0        2026-11-30 09:12 (10.0.0.7)\nWHO console  Nov 30 09:12 \n",
    "last": "WHO     pts/0        10.0.0.7         Mon Nov 30 09:12   still logged in\n",
    "w": "WHO     pts/0    10.0.0.7         09:12    1.00s  0.05s  0.01s w\n",
    "whoami": "~$ whoami\nWHO\n",
    "sudo": "[sudo] password for WHO: \nWHO is not in the sudoers file.\n"
    "Sorry, user WHO may run the following commands on web1:\n",
    "the log of sudo": "Nov  3 12:01:33 web1 sudo:     WHO : TTY=pts/0 ; PWD=/srv ; USER=root ; COMMAND=/bin/ls\n",
    "env": "SHELL=/bin/sh\nUSER=WHO\nLOGNAME=WHO\nPATH=/bin\n",
    "ssh": "WHO@10.0.0.7's password: \nWHO@web1: Permission denied (publickey,password).\n",
}


@pytest.mark.parametrize("tool", OUTPUTS)
def test_accounts_of_persons_in_outputs_of_tools_are_replaced(tool: str) -> None:
    for name in ("quentin", "quent.noe", "q17_x", "mqvogelsang", "özgür"):
        text = OUTPUTS[tool].replace("WHO", name)
        assert REDACTOR.redact_text(text) == OUTPUTS[tool].replace("WHO", "<USER_1>")


@pytest.mark.parametrize("tool", OUTPUTS)
def test_accounts_of_persons_are_found_in_json_and_behind_escapes(tool: str) -> None:
    text = OUTPUTS[tool].replace("WHO", "quentin")
    assert json.loads(REDACTOR.redact_text(json.dumps({"output": text})))["output"] == OUTPUTS[tool].replace(
        "WHO", "<USER_1>"
    )
    assert "quentin" not in REDACTOR.redact_text("cut off: " + json.dumps(text)[:-1])


@pytest.mark.parametrize("tool", OUTPUTS)
@pytest.mark.parametrize("name", ["root", "www-data", "node", "postgres", "runner", "_spotlight", "systemd-resolve"])
def test_accounts_of_systems_stay(tool: str, name: str) -> None:
    text = OUTPUTS[tool].replace("WHO", name)
    assert REDACTOR.redact_text(text) == text


def test_a_home_folder_and_the_owner_of_a_file_have_the_same_placeholder() -> None:
    text = "$ ls -l /home/quentin\n-rw-r--r-- 1 quentin marta 5 Nov  3 12:01 a.py\n"
    assert REDACTOR.redact_text(text) == (
        "$ ls -l /home/<USER_1>\n-rw-r--r-- 1 <USER_1> <USER_2> 5 Nov  3 12:01 a.py\n"
    )


def test_the_group_of_a_file_is_found_where_the_owner_was_replaced_before() -> None:
    text = "-rw-r--r-- 1 <USER_1> marta 5 Nov  3 12:01 a.py\n"
    assert "marta" not in REDACTOR.redact_text(text)
    text = "-rw-r--r-- 1 quentin marta 5 Nov  3 12:01 a.py\n"
    own = Redactor(bytes(32), RedactionOptions(user="quentin"))
    assert own.redact_text(text) == "-rw-r--r-- 1 <USER_1> <USER_2> 5 Nov  3 12:01 a.py\n"


def test_a_name_that_ps_cut_is_replaced_and_that_of_a_system_stays() -> None:
    text = "WHO  1234  0.0  0.1 169404 13100 ?        Ss   10:15   0:03 /usr/bin/x\n"
    assert REDACTOR.redact_text(text.replace("WHO", "mqvogel+")) == text.replace("WHO", "<USER_1>")
    assert REDACTOR.redact_text(text.replace("WHO", "systemd+")) == text.replace("WHO", "systemd+")
    assert REDACTOR.redact_text(text.replace("WHO", "message+")) == text.replace("WHO", "message+")


@pytest.mark.parametrize(
    "text",
    [
        "rm -rf build; rm -r -- src; chmod u+rwx a; umask -S u=rwx,g=rx",
        "Archive:  a.zip\n-rw-r--r--  3.0 unx     512 tx defN 26-Nov-03 12:01 a.py\n",
        "-rw-r--r--            512 2026/11/03 12:01:33 a.py\n",
        "-rw-r--r-- 1 1000 1000 512 Nov  3 12:01 a.py\n",
        "mode -rw-r--r-- is what other tools expect here",
        "def f(uid=0, gid=None): groups=dict(a)\nos.chown(path, uid=1000, gid=1000)",
        "id INTEGER 20   0 rows\nx = y ?  a : b\nprint ?? tty\ncopy scripts/ pts/\n",
        'user = "USER=quentin; LOGNAME"\nif USER=quentin then\n',
        "a:x:1:2\n{x:x: 1}\nfoo:x:y\nmap:*:2:b\nlimit:100:65536",
        "nobody:x:65534:65534:Kernel Overflow User:/:/sbin/nologin",
        "call whoami\nthen wait",
        "2026-11-30 09:12:33 INFO tty0 started 12:01 1",
    ],
)
def test_what_only_looks_like_an_output_stays(text: str) -> None:
    assert REDACTOR.redact_text(text) == text


def test_the_full_name_of_an_account_is_a_name() -> None:
    text = "quentin:x:1000:1000:Quentin Zebulon,,,:/home/quentin:/bin/bash\n"
    assert REDACTOR.redact_text(text) == "<USER_1>:x:1000:1000:<NAME_1>,,,:/home/<USER_1>:/bin/bash\n"


def test_the_accounts_of_systems_are_no_first_names() -> None:
    assert not known_words("system_accounts") & known_words("example_users")


@pytest.mark.parametrize(
    "line",
    [
        "-rw-r--r-- 1 quentin staff 5 Nov  3 12:01 a.py\n",
        "-rw-r--r-- 1 quentin quentin quentin quentin quentin 5 Nov a.py\n",
        "drwxr-xr-x " * 8 + "\n",
        "uid=1(q" + ",1(q" * 40,
        "quentin 1 1 1 12:01 pts/0 ",
        "1 1 1 1 1 1 1 1 1 ?  ",
    ],
)
def test_many_lines_of_outputs_take_time_in_proportion(line: str) -> None:
    patience.assert_linear_time(lambda size: REDACTOR.redact_text(line * (size // len(line))), 100_000)
