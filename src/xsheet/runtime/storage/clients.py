"""Clients of the stores, with the credentials and endpoints that the store's own tools read."""

import os
from datetime import timedelta
from functools import cache
from urllib.parse import urlsplit

from pyarrow import fs

from xsheet.runtime.storage.attempts import tried
from xsheet.runtime.storage.hub import open_hub
from xsheet.runtime.storage.place import SCHEMES
from xsheet.schemas.errors import ConfigError

CONNECT_TIMEOUT_S = 10.0
RETRY_LIMIT_S = 3.0  # of Google's client, in each try here


def open_store(url: str) -> tuple[fs.FileSystem, str]:
    """(file system, path within it).

    Raises:
        ConfigError: the URL names no bucket or holds credentials, or settings of the store are missing.
    """
    scheme, _, path = url.partition("://")
    if "@" in path.split("/")[0]:
        raise ConfigError(
            where=f"{scheme}://…", expected="a URL without credentials", got="one with '@' in its first part",
            hint="configure credentials as for the store's own tools: tables keep the URLs of videos",
        )  # fmt: skip
    path = path.rstrip("/")
    if not path:
        raise ConfigError(
            where=url, expected="a bucket and a path", got="neither", hint="write e.g. s3://bucket/videos"
        )
    match scheme:
        case "s3":
            return _s3(path.split("/")[0]), path
        case "gs":
            return _google(), path
        case "az":
            return _azure(url), path
        case "hf":
            return open_hub(url), path
    raise ConfigError(where=url, expected=f"one of {', '.join(SCHEMES)}", got=scheme, hint="check the URL")


def _s3(bucket: str) -> fs.FileSystem:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region is None and endpoint is None:
        region = _s3_region(bucket)
    # One try of the client: those here are the only ones, and their number is known.
    return fs.S3FileSystem(
        region=region, endpoint_override=endpoint, connect_timeout=CONNECT_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1), background_writes=False,
    )  # fmt: skip


@cache
def _s3_region(bucket: str) -> str:
    """Region of a bucket; cached, because a file system is opened for every object."""
    region: str = tried(lambda: fs.resolve_s3_region(bucket), f"s3://{bucket}", is_first=True)
    return region


def _google() -> fs.FileSystem:
    limit = timedelta(seconds=RETRY_LIMIT_S)
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")  # as Google's Python client: without credentials
    if emulator is None:
        return fs.GcsFileSystem(retry_time_limit=limit)
    scheme, _, host = emulator.rpartition("://")
    return fs.GcsFileSystem(
        anonymous=True, scheme=scheme or "http", endpoint_override=host.rstrip("/"), retry_time_limit=limit
    )


def _azure(url: str) -> fs.FileSystem:
    """From AZURE_STORAGE_CONNECTION_STRING, or from account, key and token, which Azure's command line reads too."""
    fields = dict(
        part.split("=", 1) for part in os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";") if "=" in part
    )
    account = fields.get("AccountName") or os.environ.get("AZURE_STORAGE_ACCOUNT")
    if account is None:
        raise ConfigError(
            where=url, expected="the name of a storage account", got="none",
            hint="set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING",
        )  # fmt: skip
    key = fields.get("AccountKey") or os.environ.get("AZURE_STORAGE_KEY")
    token = fields.get("SharedAccessSignature") or os.environ.get("AZURE_STORAGE_SAS_TOKEN")
    # A token begins with "?", whether it was copied with it or not: pyarrow appends it to the address.
    token = None if key or not token else f"?{token.removeprefix('?')}"
    return fs.AzureFileSystem(account_name=account, account_key=key, sas_token=token, **_azure_address(account, fields))


def _azure_address(account: str, fields: dict[str, str]) -> dict[str, str]:
    """Arguments for another cloud than the public one, or for the emulator, whose path begins with the account."""
    scheme, suffix = fields.get("DefaultEndpointsProtocol", "https"), fields.get("EndpointSuffix")
    blob, files = fields.get("BlobEndpoint"), fields.get("DfsEndpoint")
    if blob:
        parts = urlsplit(blob)
        scheme, address = parts.scheme or "https", parts.netloc.removeprefix(account)
        other = urlsplit(files).netloc.removeprefix(account) if files else address.replace(".blob.", ".dfs.", 1)
    elif suffix:
        address, other = f".blob.{suffix}", f".dfs.{suffix}"
    else:
        return {}
    return {
        "blob_storage_authority": address, "dfs_storage_authority": other,
        "blob_storage_scheme": scheme, "dfs_storage_scheme": scheme,
    }  # fmt: skip
