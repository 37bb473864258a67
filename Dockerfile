# The service, in a container that keeps its requests in the volume /kept. docs/howto/deploy.md
#   docker build -t scorefield .
#   docker run -p 8000:8000 -e SCOREFIELD_TOKEN=... -v "$PWD/runs:/runs:ro" scorefield /runs/digits
FROM python:3.11-slim
ARG EXTRAS=serve
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY scorefield scorefield
RUN pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]" \
    && useradd --create-home scorefield && install -d -o scorefield /kept
USER scorefield
WORKDIR /home/scorefield
ENV OMP_NUM_THREADS=1
VOLUME /kept
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health')"]
ENTRYPOINT ["scorefield", "serve", "--host", "0.0.0.0", "--port", "8000", "--folder", "/kept"]
