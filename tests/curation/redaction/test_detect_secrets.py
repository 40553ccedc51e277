"""Cross-check: what the specific plugins of detect-secrets find in a planted corpus, redaction finds as well."""

from __future__ import annotations

import pytest

from planted_secrets import filled
from seedbed.curation.redaction.redactor import Redactor

detect_secrets = pytest.importorskip("detect_secrets")

PLUGINS = [
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "BasicAuthDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "IbmCloudIamDetector",
    "IbmCosHmacDetector",
    "IPPublicDetector",
    "JwtTokenDetector",
    "KeywordDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SoftlayerDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
]
VALUE = "{A*12}7{A*14}"
CORPUS = [
    "artifactory = AKC7{A*25}",
    "artifactory_password: AP6{A*20}9",
    "id = AKIA{U*16}",
    "aws_secret_key = '{B*39}7'",
    'aws_session_key = "{B*39}7"',
    "DefaultEndpointsProtocol=https;AccountName=box;AccountKey={B*86}==;EndpointSuffix=core",
    "https://deploy:{A*9}7{A*4}@git.acme.io/app.git",
    "redis://:{A*9}7{A*4}@cache:6379/0 http://me:{A*9}7{A*4}@acme.io",
    "cloudant_password = '{H*64}'",
    "cl_key = '{H*64}'",
    "https://acme:{H*64}@acme.cloudant.com",
    "bot.run('MT{A*22}.{A*6}.{A*27}')",
    "ghp_{A*36}",
    "gho_{A*36} ghs_{A*36}",
    "glpat-{A*20} gldt-{A*20} glrt-{A*20}",
    "GR1348941{A*20} glcbt-{A*20} glimt-{A*25}",
    "ibm_cloud_iam_key = '{A*44}'",
    "cos_hmac_secret_access_key = '{H*48}'",
    "ssh root@93.184.216.{Q*1}",
    "Cookie: session={JWT}.{W*43}",
    "mailchimp = {H*32}-us12",
    "//registry.npmjs.org/:_authToken=npm_{A*36}",
    "//registry.npmjs.org/:_authToken={H*8}-{H*4}-{H*4}-{H*4}-{H*12}",
    "sk-{A*20}T3BlbkFJ{A*20}",
    "sk-proj-{A*24}T3BlbkFJ{A*20}",
    "pypi-AgEIcHlwaS5vcmc{W*100}",
    "pypi-AgENdGVzdC5weXBpLm9yZw{W*100}",
    "SG.{W*22}.{W*43}",
    "xoxb-{D*12}-{D*12}-{A*24}",
    "xoxp-{D*12}-{D*12}-{H*32}",
    "https://hooks.slack.com/services/T{U*10}/B{U*10}/{A*24}",
    "sl_api_key = '{L*64}'",
    "softlayer_password: '{L*64}'",
    "https://api.softlayer.com/soap/v3/{L*64}",
    "sq0csp-{A*43}",
    "sk_live_{A*24} rk_live_{A*24}",
    "{D*10}:AA{A*33}",
    "AC{H*32} SK{H*32}",
    *(
        template.replace("V", VALUE)
        for template in (
            'api_key = "V"',
            "apikey: 'V'",
            'auth_key := "V"',
            'service_key = "V"',
            'account_key = "V"',
            'db_key = "V"',
            'database_pass = "V"',
            'key_pass = "V"',
            'password = "V"',
            'passwd: "V"',
            'pwd = "V"',
            'private_key = "V"',
            'secret = "V"',
            'contrasena = "V"',
            'std::string secret("V");',
            'if (secret == "V")',
            'if ("V" == my_password) {',
            'define("DB_PASSWORD", "V");',
            '{"db": {"password": "V"}}',
            "$config['secret'] = 'V';",
            '"api-key" => "V",',
        )
    ),
]


def test_redaction_finds_what_the_specific_plugins_find() -> None:
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import transient_settings

    redactor = Redactor(bytes(32))
    missed, kinds = [], set()
    with transient_settings({"plugins_used": [{"name": name} for name in PLUGINS]}):
        for number, template in enumerate(CORPUS):
            line = filled(template, number)
            for secret in scan_line(line):
                kinds.add(secret.type)
                if secret.secret_value in redactor.redact_text(line):
                    missed.append((secret.type, template))
    assert missed == []
    assert len(kinds) >= 22, sorted(kinds)


def test_each_line_of_the_corpus_is_redacted_and_nothing_of_its_random_part_is_left() -> None:
    redactor = Redactor(bytes(32))
    left = [
        template
        for n, template in enumerate(CORPUS)
        if redactor.redact_text(filled(template, n)) == filled(template, n)
    ]
    assert left == []


def test_redaction_finds_a_private_key_where_the_plugin_finds_its_first_line() -> None:
    key = filled("-----BEGIN RSA PRIVATE KEY-----\n{B*64}\n{B*64}\n-----END RSA PRIVATE KEY-----")
    assert Redactor(bytes(32)).redact_text(f"a\n{key}\nb") == "a\n<PRIVATE_KEY_1>\nb"
