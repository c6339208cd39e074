"""Every source with secrets planted in it, behind servers that can be made to say back what they hear."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.credentials.openid.authorization_servers import OAuthServer, OriginalServer, make_jwt
from tests.credentials.openid.failing_server import FailingServer
from tests.credentials.sdk.metadata_servers import ContainerEndpoint, InstanceService
from tests.credentials.sdk.stand_in import StandIn
from tests.credentials.sts.connect_proxy import ConnectProxy
from tests.credentials.sts.sts_server import StsServer, numbered_set
from tests.credentials.vault.vault_backend import AwsRole, Login
from tests.credentials.vault.vault_server import VaultServer
from tests.outages.planted import echo
from tests.outages.sources import ROLE

__all__ = ["SCENES", "Scene"]

# With whatever JSON, URLs, HTML and shells write in ways of their own.
ODD: Final = "planted <odd> \"secret\" 'of' 100% +/=&;?#é\\ ~"
TOKEN: Final = make_jwt({"iss": "https://oidc.eks.example", "sub": "system:serviceaccount:a:b", "aud": ["sts"]})
NO_KEYS: Final = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}


@dataclass
class Scene:
    """A source: its settings, the servers that it asks, and the secrets that were planted or are handed out."""

    environ: dict[str, str]
    planted: list[str]
    servers: list[StsServer | FailingServer | VaultServer | StandIn] = field(default_factory=list)
    styles_beside: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    """Other ways to fail than to say back what is heard."""
    mend_beside: Callable[[], Any] = lambda: None

    @property
    def secrets(self) -> list[str]:
        """All secrets there are by now."""
        handed_out: list[str] = []
        for server in self.servers:
            match server:
                case StsServer():
                    for number in range(1, server.issued + 1):
                        one = numbered_set(number)
                        handed_out += [one.secret_access_key, one.session_token or ""]
                case OriginalServer() | OAuthServer():
                    handed_out += server.issued
                case VaultServer():
                    handed_out += [token for token in server.backend.tokens if token.startswith("hvs.")]
                    for number in range(1, server.backend.sets_made + 1):
                        handed_out += [f"planted-{kind}-{number}" for kind in ("sts", "session", "key")]
                case InstanceService() | ContainerEndpoint():
                    for number in range(1, server.handed_out + 1):
                        handed_out += [f"planted-{what}-{server.kind}-{number}" for what in ("secret", "token")]
                case _:
                    raise AssertionError(server)
        return [*self.planted, *handed_out]

    @property
    def never_succeeds(self) -> bool:
        """Whether there is nothing that could hand out credentials."""
        return not self.servers and not self.styles_beside

    def fail(self, style: str) -> None:
        """Fail in a style: of every server, or one of the scene's own."""
        self.mend()
        if style in self.styles_beside:
            self.styles_beside[style]()
        else:
            for server in self.servers:
                echo(server, style)

    def mend(self) -> None:
        """Let all of it work."""
        for server in self.servers:
            echo(server, None)
        self.mend_beside()


Make = Callable[[Path, contextlib.ExitStack], Scene]


def with_user(url: str, user: str, password: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}:{password}@{rest}"


def token_file(folder: Path, text: str = TOKEN, name: str = "token") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def _irsa(folder: Path, sts_url: str) -> dict[str, str]:
    return {
        "ASP_CREDENTIALS_PROVIDER": "irsa",
        "ASP_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": token_file(folder),
        "AWS_ENDPOINT_URL_STS": sts_url,
    }


def irsa(folder: Path, stack: contextlib.ExitStack) -> Scene:
    sts = stack.enter_context(StsServer())
    url = with_user(sts.url, "somebody", "planted-password-of-sts")
    return Scene(_irsa(folder, url), [TOKEN, "planted-password-of-sts"], [sts])


def roles(folder: Path, stack: contextlib.ExitStack) -> Scene:
    """Two roles on top of static keys of the environment."""
    sts = stack.enter_context(StsServer())
    environ = {
        "ASP_CREDENTIALS_PROVIDER": "awstoken",
        "AWS_ACCESS_KEY_ID": "AKIAPLANTED",
        "AWS_SECRET_ACCESS_KEY": "planted/secret+key/of/the/environment",
        "AWS_SESSION_TOKEN": "planted/session+token==",
        "ASP_ASSUME_ROLE_ARNS": f"{ROLE},{ROLE}2",
        "AWS_ENDPOINT_URL_STS": sts.url,
    }
    return Scene(environ, ["planted/secret+key/of/the/environment", "planted/session+token=="], [sts])


def through_proxy(folder: Path, stack: contextlib.ExitStack) -> Scene:
    """Irsa by a proxy with a password, in absolute form; the stand-in hears what the proxy hears."""
    sts = stack.enter_context(StsServer())
    proxy = stack.enter_context(ConnectProxy(to=sts.port))
    password = "planted:password/of+proxy"
    environ = _irsa(folder, "http://sts.planted.example") | {
        "HTTP_PROXY": with_user(proxy.url, "somebody", "planted%3Apassword%2Fof%2Bproxy")
    }
    return Scene(environ, [TOKEN, password], [sts])


def refusing_proxy(folder: Path, stack: contextlib.ExitStack) -> Scene:
    """A proxy that refuses tunnels, and says to whom; for the authorization server, which is asked first."""
    password = "planted-password-of-proxy"
    proxy = stack.enter_context(ConnectProxy(refuse_with=f"407 somebody:{password} is not let through"))
    environ = {
        "ASP_CREDENTIALS_PROVIDER": "oidc",
        "ASP_ROLE_ARN": ROLE,
        "ASP_OPEN_ID_AUTH_SERVER_URL": "https://login.planted.example/token",
        "ASP_OPEN_ID_CLIENT_ID": "client-1",
        "ASP_OPEN_ID_CLIENT_SECRET": ODD,
        "HTTPS_PROXY": with_user(proxy.url, "somebody", password),
    }
    return Scene(environ, [ODD, password])


def refusing_proxy_of_sts(folder: Path, stack: contextlib.ExitStack) -> Scene:
    scene = refusing_proxy(folder, stack)
    proxy = scene.environ["HTTPS_PROXY"]
    return Scene(_irsa(folder, "https://sts.planted.example") | {"HTTPS_PROXY": proxy}, [TOKEN, *scene.planted[1:]])


def refusing_proxy_of_vault(folder: Path, stack: contextlib.ExitStack) -> Scene:
    scene = refusing_proxy(folder, stack)
    environ = {
        "ASP_CREDENTIALS_PROVIDER": "vault",
        "ASP_VAULT_URL": "https://vault.planted.example",
        "ASP_VAULT_PATH": "aws/sts/reader",
        "ASP_VAULT_AUTH_TOKEN": "hvs.planted-token",
        "HTTPS_PROXY": scene.environ["HTTPS_PROXY"],
    }
    return Scene(environ, ["hvs.planted-token", *scene.planted[1:]])


def _open_id(server: OriginalServer | OAuthServer, sts: StsServer, **settings: str) -> dict[str, str]:
    return {
        "ASP_CREDENTIALS_PROVIDER": "oidc",
        "ASP_ROLE_ARN": ROLE,
        "ASP_OPEN_ID_AUTH_SERVER_URL": server.url,
        "ASP_OPEN_ID_CLIENT_ID": server.client_id,
        "AWS_ENDPOINT_URL_STS": sts.url,
    } | settings


def original(folder: Path, stack: contextlib.ExitStack) -> Scene:
    """The original's dialect, with the secret in its setting."""
    server = stack.enter_context(OriginalServer(secret=ODD))
    sts = stack.enter_context(StsServer())
    return Scene(_open_id(server, sts, ASP_OPEN_ID_CLIENT_SECRET=ODD), [ODD], [server, sts])


def _oauth(authentication: str, folder: Path, stack: contextlib.ExitStack) -> Scene:
    server = stack.enter_context(OAuthServer(secret=ODD, authentication=authentication))
    sts = stack.enter_context(StsServer())
    environ = _open_id(
        server,
        sts,
        ASP_OPEN_ID_AUTH_SERVER_URL="",
        ASP_OPEN_ID_ISSUER_URL=server.origin,
        ASP_OPEN_ID_CLIENT_SECRET_FILE=token_file(folder, ODD, "client-secret"),
        ASP_OPEN_ID_DIALECT="oauth2",
        ASP_OPEN_ID_CLIENT_AUTH=authentication,
    )
    return Scene(environ, [ODD], [server, sts])


def basic(folder: Path, stack: contextlib.ExitStack) -> Scene:
    return _oauth("client_secret_basic", folder, stack)


def post(folder: Path, stack: contextlib.ExitStack) -> Scene:
    return _oauth("client_secret_post", folder, stack)


def private_key(folder: Path, stack: contextlib.ExitStack) -> Scene:
    from joserfc.jwk import ECKey

    key = ECKey.generate_key("P-256")
    pem = key.as_pem(private=True).decode()
    server = stack.enter_context(OAuthServer(authentication="private_key_jwt", public_key=key))
    sts = stack.enter_context(StsServer())
    environ = _open_id(
        server,
        sts,
        ASP_OPEN_ID_CLIENT_KEY_FILE=token_file(folder, pem, "key.pem"),
        ASP_OPEN_ID_DIALECT="oauth2",
    )
    return Scene(environ, [pem, *pem.splitlines()[1:-1]], [server, sts])


def _vault(vault: VaultServer, **settings: str) -> dict[str, str]:
    vault.backend.roles["aws/sts/reader"] = AwsRole(credential_type="assumed_role")
    return {
        "ASP_CREDENTIALS_PROVIDER": "vault",
        "ASP_VAULT_URL": vault.url,
        "ASP_VAULT_PATH": "aws/sts/reader",
    } | settings


def vault_token(folder: Path, stack: contextlib.ExitStack) -> Scene:
    vault = stack.enter_context(VaultServer())
    vault.backend.add_token("hvs.planted/token+=", ttl=3600)
    environ = _vault(
        vault,
        ASP_VAULT_URL=vault.url,
        ASP_VAULT_AUTH_TOKEN_FILE=token_file(folder, "hvs.planted/token+="),
    )
    return Scene(environ, ["hvs.planted/token+="], [vault])


def vault_role(folder: Path, stack: contextlib.ExitStack) -> Scene:
    """AppRole, and an IAM user that STS is asked about."""
    vault = stack.enter_context(VaultServer())
    sts = stack.enter_context(StsServer())
    vault.backend.logins["approle"] = Login("approle", secret_ids={ODD})
    environ = _vault(
        vault,
        ASP_VAULT_PATH="aws/creds/dev",
        ASP_VAULT_ROLE_ID="role-id-1",
        ASP_VAULT_SECRET_ID=ODD,
        ASP_VAULT_SETTLING_TIMEOUT="0",
        AWS_ENDPOINT_URL_STS=sts.url,
    )
    vault.backend.roles["aws/creds/dev"] = AwsRole()
    return Scene(environ, [ODD], [vault, sts])


def vault_kubernetes(folder: Path, stack: contextlib.ExitStack) -> Scene:
    vault = stack.enter_context(VaultServer())
    vault.backend.logins["kubernetes"] = Login("kubernetes", jwts={TOKEN})
    environ = _vault(
        vault,
        ASP_VAULT_AUTH_METHOD="kubernetes",
        ASP_VAULT_AUTH_ROLE="dev",
        ASP_VAULT_JWT_FILE=token_file(folder),
    )
    return Scene(environ, [TOKEN], [vault])


def container(folder: Path, stack: contextlib.ExitStack) -> Scene:
    endpoint = stack.enter_context(ContainerEndpoint())
    endpoint.token = "Bearer planted-container-token"
    environ = NO_KEYS | {
        "ASP_CREDENTIALS_PROVIDER": "default",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": with_user(endpoint.full_uri, "somebody", "planted-password-of-agent"),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token_file(folder, endpoint.token),
    }
    return Scene(environ, ["planted-container-token", "planted-password-of-agent"], [endpoint])


def instance(folder: Path, stack: contextlib.ExitStack) -> Scene:
    service = stack.enter_context(InstanceService())
    environ = NO_KEYS | {
        "ASP_CREDENTIALS_PROVIDER": "default",
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": with_user(service.url, "somebody", "planted-password-of-imds"),
    }
    return Scene(environ, [service.TOKEN, "planted-password-of-imds"], [service])


def process(folder: Path, stack: contextlib.ExitStack) -> Scene:
    """A credential_process with a secret among its arguments, which tells it on standard error."""
    script = folder / "process"
    good = (
        '{"Version":1,"AccessKeyId":"ASIAPLANTED","SecretAccessKey":"planted-secret-of-process",'
        '"SessionToken":"planted-token-of-process","Expiration":"2099-01-01T00:00:00Z"}'
    )

    def write(shell: str) -> Callable[[], Any]:
        return lambda: script.write_text(f"#!/bin/sh\necho $1 >&2\n{shell}\n")

    write(f"echo '{good}'")()
    script.chmod(0o700)
    config = folder / "config"
    config.write_text(f"[default]\ncredential_process = {script} planted-argument\n")
    environ = NO_KEYS | {"ASP_CREDENTIALS_PROVIDER": "default", "AWS_CONFIG_FILE": str(config)}
    styles = {
        "exit status": write("echo $1; exit 3"),
        "no JSON": write("echo $1"),
        "not all of it": write(f"echo '{good}' | sed s/SessionToken/Other/"),
        "another version": write(f"echo '{good}' | sed s/:1/:2/"),
        "no time": write(f"echo '{good}' | sed s/2099/planted-argument/"),
        "two lines in one": write(f"echo '{good}' | sed 's/-of-process/\\\\n-of-process/'"),
    }
    planted = ["planted-secret-of-process", "planted-token-of-process", "planted-argument"]
    return Scene(environ, planted, styles_beside=styles, mend_beside=write(f"echo '{good}'"))


def files(folder: Path, stack: contextlib.ExitStack) -> Scene:
    """The shared credentials file, well and badly written."""
    path = folder / "credentials"
    secret = "planted/secret+of/file"
    good = f"[default]\naws_access_key_id = AKIAPLANTED\naws_secret_access_key = {secret}\n"

    def write(text: str) -> Callable[[], Any]:
        return lambda: path.write_text(text)

    write(good)()
    environ = NO_KEYS | {"ASP_CREDENTIALS_PROVIDER": "awstoken", "AWS_SHARED_CREDENTIALS_FILE": str(path)}
    styles = {
        "no section": write(good.removeprefix("[default]\n")),
        "no key": write(f"[default]\n{secret}\n"),
        "half": write(f"[default]\naws_secret_access_key = {secret}\n"),
        "swapped": write(f"[default]\naws_access_key_id = {secret}\naws_secret_access_key = {secret}\n"),
        "two lines": write(good.replace(" = planted", " = planted\n ")),
        "a role": write(f"{good}role_arn = {secret}\n"),
    }
    return Scene(environ, [secret], styles_beside=styles, mend_beside=write(good))


SCENES: Final[tuple[Make, ...]] = (
    irsa,
    roles,
    through_proxy,
    refusing_proxy,
    refusing_proxy_of_sts,
    refusing_proxy_of_vault,
    original,
    basic,
    post,
    private_key,
    vault_token,
    vault_role,
    vault_kubernetes,
    container,
    instance,
    process,
    files,
)
