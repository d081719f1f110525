# One image for every process: web (the default command), worker, beat, keeper and manage.py.
# The embedded servers and the tools of development are not in it: only requirements.lock is installed.

FROM python:3.11-slim AS packages
COPY requirements.lock /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.lock

FROM python:3.11-slim
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DEBUG=0 \
    PORT=8000 \
    WEB_WORKERS=2 \
    GRANIAN_BLOCKING_THREADS=4
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent scrm
COPY --from=packages /venv /venv
WORKDIR /app
COPY . .
# Compiled now, because at run time nothing here can be written. The key is this step's own and is kept nowhere.
RUN python -m compileall -q scrm customers profiles wxwork manage.py \
    && SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(50))')" python manage.py collectstatic --noinput
USER scrm
EXPOSE 8000
# Other processes of this image have checks of their own in docker-compose.yml.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as u; host = os.environ.get('ALLOWED_HOSTS', 'localhost').split(',')[0].strip('.* ') or 'localhost'; u.urlopen(u.Request('http://127.0.0.1:' + os.environ['PORT'] + '/healthz', headers={'Host': host}), timeout=4)"]
CMD ["sh", "-c", "exec granian --interface wsgi --host 0.0.0.0 --port \"$PORT\" --workers \"$WEB_WORKERS\" --respawn-failed-workers scrm.wsgi:application"]
