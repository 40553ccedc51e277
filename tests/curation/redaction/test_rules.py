"""Each rule finds its example where people leave secrets, and leaves what only looks like one."""

from __future__ import annotations

import json

import pytest

from planted_secrets import filled
from seedbed.curation.redaction.redactor import RedactionOptions, Redactor
from seedbed.curation.redaction.rules import Rule, known_words, rule_table
from seedbed.curation.redaction.scanner import Scanner

KEY = bytes(range(32))
REDACTOR = Redactor(KEY)
SCANNER = Scanner(rule_table())
RULES = [pytest.param(rule, id=f"{number}-{rule.id}") for number, rule in enumerate(rule_table())]

CONTEXTS = {
    "alone": "{}",
    "code": 'client = Client("{}", retries=3)\n',
    "comment": "// {}\nint main() {{ return 0; }}\n",
    "prose": "I think the one we use is {} but ask first.",
    "environment": "DEBUG=1\nexport VALUE={}\nPORT=80\n",
    "YAML": "services:\n  - {}\n  - other\n",
    "chat": "Here it is:\n\n    {}\n\nThanks!",
    "lines": "before\n{}\nafter",
    "escapes of source code": 'text = "before\\n{}\\nafter"',
}


@pytest.mark.parametrize("rule", RULES)
def test_a_planted_secret_is_found_in_every_context(rule: Rule) -> None:
    for name, context in CONTEXTS.items():
        example = filled(rule.example, name)
        found = REDACTOR.redact(context.format(example))
        assert rule.id in found.counts, (name, found.counts)
        assert example not in found.text, name
        assert REDACTOR.redact(found.text).text == found.text, name


@pytest.mark.parametrize("rule", RULES)
def test_a_planted_secret_is_found_inside_json(rule: Rule) -> None:
    example = filled(rule.example, "json")
    text = json.dumps({"command": "run", "content": f"x\n{example}\ny", "list": [1.50, None]}, indent=1)
    found = REDACTOR.redact(text)
    assert rule.id in found.counts
    assert json.loads(found.text)["list"] == [1.5, None]
    assert "1.5" in found.text
    assert example not in json.loads(found.text)["content"]


@pytest.mark.parametrize("rule", [rule for rule in RULES if " " not in rule.values[0].example])
def test_a_planted_secret_is_found_in_a_url(rule: Rule) -> None:
    text = f"see https://acme.io/callback?code={filled(rule.example, 'url')}&next=1"
    if rule.shape != "exact" and not rule.before and "://" not in rule.example and not rule.personal:
        assert rule.id in REDACTOR.redact(text).counts


@pytest.mark.parametrize("rule", RULES)
def test_a_near_miss_is_left(rule: Rule) -> None:
    for seed in range(5):
        near_miss = filled(rule.near_miss, seed)
        for context in CONTEXTS.values():
            assert rule.id not in REDACTOR.redact(context.format(near_miss)).counts, near_miss


def test_the_table_has_the_widely_used_credentials() -> None:
    secrets = {rule.id for rule in rule_table() if not rule.personal}
    assert len(secrets) >= 100
    personal = {rule.id for rule in rule_table() if rule.personal}
    assert {"e-mail", "phone-number", "ip-address", "ip-address-v6", "home-path", "author-name"} <= personal


def test_the_templates_of_the_table_are_no_secrets_themselves() -> None:
    for rule in rule_table():
        found = [span.rule.id for text in (rule.example, rule.near_miss) for span in SCANNER.spans(text)]
        assert rule.id not in found or rule.personal or rule.id == "cut-value", rule.id


PREFIXES = [
    "{n:6}→",
    "{n}→",
    "{n:6}\t",
    "{n}:",
    "{n} | ",
    "{n:4} │ ",
    "keys/id_rsa:{n}:",
    "keys/id_rsa-{n}-",
    "# ",
    "// ",
    "+",
]
PREFIXES += ["1f2e3d4c (Bob 2026-01-01 10:00:00 +0100 {n:3}) ", "\x1b[32m+"]


@pytest.mark.parametrize("before", PREFIXES)
@pytest.mark.parametrize("part", [slice(None), slice(3, -6), slice(-6, None)], ids=["whole", "middle", "end"])
def test_a_private_key_is_found_behind_line_numbers_and_other_prefixes(before: str, part: slice) -> None:
    key = filled("\n".join(["{B*64}"] * 12 + ["{B*43}="])).split("\n")
    head = ["-----BEGIN RSA PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,{H*32}", ""]
    lines = [*map(filled, head), *key, "-----END RSA PRIVATE KEY-----"]
    shown = [before.replace("{n", "{0").format(number) + line for number, line in enumerate(lines, 7)][part]
    text = "\n".join(["see below", *shown, "and above"])
    made = Redactor(KEY).redact(text).text
    assert not [line for line in key if line in made]
    assert made.startswith("see below\n")
    assert made.endswith("and above")


def test_secrets_or_personal_data_alone_can_be_chosen() -> None:
    text = filled("mail {L*8}@acme.io the key ghp_{A*36}")
    without = Redactor(KEY, RedactionOptions(personal=False)).redact(text)
    assert dict(without.counts) == {"github-personal-token": 1}
    without = Redactor(KEY, RedactionOptions(secrets=False)).redact(text)
    assert dict(without.counts) == {"e-mail": 1}


def test_the_country_domains_are_complete() -> None:
    assert sum(len(domain) == 2 for domain in known_words("top_level_domains")) >= 240


SECRET = "{A*10}7{A*12}"
ASSIGNMENTS = [
    'password = "{A*8}7{A*3}"',
    "DB_PASSWORD={A*10}7{A*3}",
    'const apiKey = "' + SECRET + '";',
    "api_key: " + SECRET,
    '{"client_secret": "' + SECRET + '"}',
    "'auth_token' => '" + SECRET + "'",
    'token := "' + SECRET + '"',
    'secret: str = "' + SECRET + '"',
    'if password == "{A*8}7{A*3}!":',
    'setSecret("' + SECRET + '")',
    'os.environ["API_KEY"] = "' + SECRET + '"',
    '\\"access_token\\": \\"' + SECRET + '\\"',
    "the password is {A*8}7#{A*3}",
    "<add key=x password='{A*8}7{A*3}' />",
    "https://acme.io/?access_token=" + SECRET + "&x=1",
    "X-Api-Key: " + SECRET,
    "Authorization: Basic {A*22}7{A*5}==",
    '-H "Authorization: Bearer ' + SECRET + '"',
    "curl --user me:{A*9}7{A*3} https://acme.io",
    "PGPASSWORD={A*9}7{A*3} psql -h db",
    "user: me\nPassword: hunter2\n",
    "  password: {B*24}==\n  username: YWRtaW4=",
    "SECRET_KEY = 'django-insecure-b8a_yip4$ptd6pc(yw)b9t{A*12}'",
    '.login("me", "{A*7}7{A*6}")',
    'psk="{A*7}7{A*6}"',
    "Server=db;User Id=sa;Password=Winter_{D*4};",
    "jdbc:mysql://db:3306/x?user=app&password=Winter_{D*4}",
    "PGPASSWORD=Winter@{D*4} psql -h db",
    "db.acme.io:5432:app:me:Winter@{D*4}",
    "machine api.acme.io login me password winter{D*4}",
    "the password is Winter@{D*4}",
    "kubectl create secret generic db --from-literal=password=winter{D*4}",
    "mount -t cifs //s/x /m -o username=me,password=winter_{D*4}",
    "tool --password winter{D*4}",
    'psk="winter{D*4}"',
    '{"environment": [{"name": "DB_PASSWORD", "type": "x", "value": "'
    + SECRET
    + '"}, {"name": "PORT", "value": "80"}]}',
    "{ name: 'API_KEY', value: '" + SECRET + "' },",
    'variable "db_password" {\n  type = string\n  default = "' + SECRET + '"\n}',
    "<db.password>" + SECRET + "</db.password>",
    "<name>db.password</name>\n  <value>" + SECRET + "</value>",
    '<property name="password">' + SECRET + "</property>",
    '<add key="ApiSecret" value="' + SECRET + '" />',
    "<key>apiKey</key>\n\t<string>" + SECRET + "</string>",
    "| `API_KEY` | `" + SECRET + "` |",
    "Set `API_KEY` to `" + SECRET + "`",
    'gh secret set API_KEY -R me/app -b"' + SECRET + '"',
    'npm config set "//registry.npmjs.org/:_authToken" "' + SECRET + '"',
    "echo " + SECRET + " | docker login -u me --password-stdin acme.io",
    "htpasswd -nbB me {A*7}7{A*6}",
]


@pytest.mark.parametrize("template", ASSIGNMENTS)
def test_values_with_the_name_of_a_secret_are_found(template: str) -> None:
    found = REDACTOR.redact(filled(template, template))
    assert sum(found.counts.values()) == 1, found


WORDS = [
    "DB_PASSWORD={}",
    "A=1\nexport DB_PASSWORD='{}'\nB=2\n",
    "FROM x\nENV MYSQL_PASSWORD={}\n",
    'docker run -e MYSQL_PASSWORD={} -e PORT=1 "x"',
    "env:\n  MYSQL_PASSWORD: {}\n  PORT: 1\n",
    "env:\n  - MYSQL_ROOT_PASSWORD={}\n",
    "PGPASSWORD={} psql -h db",
    "Server=db;User Id=sa;Password={};Encrypt=true",
    "mysql -u me -p{} db",
    "curl -u me:{} https://acme.io",
    "https://me:{}@acme.io",
    "mongosh -u me -p {} --host x",
    "redis-cli -h cache -a {} ping",
    "echo 'me:{}' | chpasswd",
    "machine acme.io login me password {}",
    "ALTER USER me IDENTIFIED BY '{}';",
]


@pytest.mark.parametrize("template", WORDS)
def test_a_password_of_words_is_found_where_only_a_password_stands(template: str) -> None:
    for word in ("correcthorsebattery", "Sonnenaufgang", "correct-horse-battery"):
        assert word not in REDACTOR.redact_text(template.format(word))


@pytest.mark.parametrize("word", ["changeme", "your-password", "mysecretpassword", "example", "postgres", "required"])
def test_words_that_stand_for_a_password_stay(word: str) -> None:
    for template in ("DB_PASSWORD={}", "env:\n  DB_PASSWORD: {}\n", "redis-cli -a {} ping"):
        assert REDACTOR.redact_text(template.format(word)) == template.format(word)


LABELLED = [
    "phone: 030 {}",
    "tel.: 0171/{}",
    "Telefon: (030) {}",
    "Mobile: 0171-{}",
    "Handy-Nr.: 0171 {}",
    '{{"phone": "0171 {}", "port": 80}}',
    '{{"phoneNumber": "0171{}"}}',
    "home_phone = '01 71 {}'",
    '<a href="tel:0171{}">call</a>',
    "<phone>0171 {}</phone>",
    "| **Phone**: 0171 {} |",
    "fax: 0049 171 {}",
    "phone=415762{}",
]


@pytest.mark.parametrize("template", LABELLED)
def test_a_national_phone_number_is_found_behind_its_label(template: str) -> None:
    found = REDACTOR.redact(template.format("4639" if "=415" in template else "4638126"))
    assert found.counts == {"phone-number-labelled": 1}
    assert "<PHONE_1>" in found.text
    assert "4638" not in found.text
    assert "4639" not in found.text


PERSONAL = {
    "e-mail-in-words": "<q{L*6} at acme dot org>, q{L*6} [at] acme [dot] org, q{L*6}(at)acme.org",
    "iban": "GB55LOYD30963482641975, NL91 ABNA 0417 1643 00, FR14 2004 1010 0505 0001 3M02 606",
    "card-number": "4716-2384-9102-3845, Visa 4716238491023845, 3712 843951 20463",
    "shell-prompt": "[q{L*6}@web1 src]$ ls\nq{L*6}@MacBook-Pro ~ % ls\nq{L*6}@pc:/srv$ ls",
    "home-path": "/export/home/q{L*6}/x /var/home/q{L*6}/x",
}


@pytest.mark.parametrize("rule", PERSONAL)
def test_personal_data_is_found_in_its_usual_forms(rule: str) -> None:
    template = PERSONAL[rule]
    found = REDACTOR.redact(filled(template))
    assert found.counts == {rule: template.count("/home/") or 3}


NO_SECRETS = [
    "password = os.environ['DB_PASSWORD']",
    'password = getpass.getpass("Password: ")',
    "password: str | None = None",
    "def login(user: str, password: str, token: Token2) -> Session1:",
    'password = "changeme"',
    'api_key = "your-api-key-here"',
    'api_key = "YOUR_API_KEY"',
    "API_KEY=${API_KEY}",
    "API_KEY=$(cat /run/secrets/api-key-2)",
    "api_key: {{ .Values.apiKey2 }}",
    "password: <your password>",
    'token = "xxxxxxxxxxxxxxxxxxxx"',
    "token = tokens[i + 1]",
    "token = self.next_token2",
    "max_tokens=4096, token_type=2",
    'tokenizer = AutoTokenizer.from_pretrained("Qwen/Qwen2.5-Coder-3B")',
    'secret_name: "projects/12/secrets/db"',
    "PASSWORD_HASHERS = ['django.contrib.auth.hashers.PBKDF2PasswordHasher']",
    'placeholder="Enter your password"',
    '"token": "access_token_v2"',
    "self.password_field = forms.CharField(max_length=128)",
    "secret = base64.b64decode(value1)",
    'throw new Error("invalid token: expected 2 arguments")',
    "git clone git@github.com:acme/app.git",
    "ssh://git@acme.io/app.git",
    "Co-Authored-By: Claude <noreply@anthropic.com>",
    "a @ b.T + x@y.shape",
    "@app.route('/users/17')",
    "pip install seedbed==1.20.30.40",
    "Mozilla/5.0 Chrome/120.40.30.20 Safari",
    "1.3.6.1.4.1.311.60.2.1.3",
    "listen 127.0.0.1:80; 10.0.0.7; 192.168.1.4; 172.16.3.2; 203.0.113.9; 0.0.0.0; 255.255.255.0",
    "a[3::4], b[2000::5], std::vector<int>, 12:34:56, 00:1b:44:11:3a:b7, fe80::1, ::1, 2001:db8::7",
    "SECRET = 0xD6E8FEB86659FD93",
    "+1 -1\n+12345678901,\n+3.14159265358979\n",
    "2026-11-30 15:52:10.123456789",
    "http://192.168.0.1/app, https://localhost:8443/, postgres://localhost:5432/app",
    "postgres://user:password@localhost/app",
    "/home/user/app /Users/Shared/x C:\\Users\\Public\\y /api/users/1234 /api/Users/17",
    "commit 3f786850e387550fdab836ed7e6dc881de23001b\nAuthor-ID: 17",
    "550e8400-e29b-41d4-a716-446655440000",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    '"integrity": "sha512-{B*86}=="',
    'hash = "{H*64}"',
    "data:image/png;base64,iVBORw0KGgo{B*400}",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{B*43}",
    "-----BEGIN CERTIFICATE-----\n{B*64}\n{B*64}\n-----END CERTIFICATE-----",
    'PEM = "-----BEGIN PRIVATE KEY-----"',
    "Copyright (c) 2020 The Authors",
    "the author of this module, see Author Guidelines",
    "connect(user=me, password=user_password2)",
    "the password is Base64 encoded with SHA256",
    "| token | uint256 |\n| password | varchar(255) |",
    "- name: DB_PASSWORD\n  valueFrom: db-secret-2",
    "<password>${db.password2}</password><token>STRING_LITERAL</token>",
    'variable "db_password" {\n  type = string\n}\nvariable "size" {\n  default = "t3.large9"\n}',
    "Promise<Token> loadToken2(std::vector<Secret> a2) </",
    '{"name": "token", "value": "access_token_v2"}',
    "zip -P $PASS a; redis-cli -a <password>; openssl enc -k secret; echo xxx | sudo -S ls; htpasswd -b f me ${P}",
    "DE59 5001 0517 9407 3249 31, FR12345678901234567, 4242 4242 4242 4242, 4716 2384 9102 3846",
    "A = 1234 5678 9012 3452 1111 2222",
    "look at the next dot com domain; a.b(at)c.d(x); npm install @types%2Fnode; lodash%404.17.21.js",
    "x = a@b; y @ z % w; root@web1:~# ls; %2Fhome%2Fuser%2Fapp; /export/homework/x",
    "phone: 01.02.2024, tel: 0123456789, phone = 0000000000, mobile: 0x0171463812, tel: 017, phone: 5551234567",
    "microphone = 0.01714638126, phone: 0171.46, cellWidth: 01714, 'fax': None, telnet: 0171 4638126, intel 0171 4638126",
    "password=correcthorsebattery\nif password=word then\nself.password=password",
    "f(PASSWORD=word, x=1)\nPASSWORD: optional\nDB_PASSWORD: required\nMAX_PASSWORD = length\nPASSWORD=string",
    "POSTGRES_PASSWORD=postgres\nAPPLE_PASSWORD: apple\nPASSWORD=getpass\nPASSWORD=$PASS\nPASSWORD=read_it(x)\nPASSWORD=a.b.c",
    "mongosh -u me -p secret; redis-cli -a changeme; machine acme.io login me password your-token",
    "keytool -storepass changeit; CREATE USER me IDENTIFIED BY 'password';",
]


@pytest.mark.parametrize("text", NO_SECRETS)
def test_ordinary_text_is_left(text: str) -> None:
    text = filled(text)
    assert REDACTOR.redact(text).text == text
