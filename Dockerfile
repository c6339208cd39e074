# The image of the proxy: a virtual environment made from the built wheel, and nothing else.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && python -m venv /opt/aws-signing-proxy \
 && /opt/aws-signing-proxy/bin/pip install --no-cache-dir /wheels/*.whl

FROM python:3.13-slim
LABEL org.opencontainers.image.title="aws-signing-proxy" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/aws-signing-proxy /opt/aws-signing-proxy
# In a container the loopback address reaches nobody. Whoever reaches the port acts with the proxy's AWS identity:
# publish it to whom that is meant for only.
ENV PATH="/opt/aws-signing-proxy/bin:$PATH" \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ASP_BIND_ADDRESS=0.0.0.0 \
    ASP_MGMT_BIND_ADDRESS=0.0.0.0
# By number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
# With a read-only file system, mount something on /tmp (or set ASP_SPOOL_DIR): large bodies wait there to be signed.
WORKDIR /tmp
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('ASP_MGMT_PORT') or 8081), timeout=2); c.request('GET', '/status/health'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["aws-signing-proxy"]
