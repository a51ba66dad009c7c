# Worker and API of Spendlock: one image, the command chooses. Not run in a container for this version; see README.
FROM node:20.20.2-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Install scripts are left out: the embedded Postgres, which needs one, is for laptops.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:20.20.2-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json tsconfig.json ./
COPY core core
COPY contracts contracts
COPY workflows workflows
COPY authority authority
COPY tools tools
COPY activities activities
COPY store store
COPY temporal temporal
COPY workers workers
COPY mcp mcp
COPY api api
COPY client client
COPY cli cli
COPY dashboard dashboard
COPY telemetry telemetry
COPY migrations migrations
COPY scripts/run.cjs scripts/one-signal.cjs scripts/migrate.ts scripts/migrate-older.ts scripts/
USER node
# Which version of the code this is, such as its commit: docker build --build-arg SPENDLOCK_BUILD_ID=$(git rev-parse --short HEAD)
ARG SPENDLOCK_BUILD_ID=""
ENV SPENDLOCK_BUILD_ID=$SPENDLOCK_BUILD_ID
# worker: workers/main.ts   API: api/main.ts   proxy: api/proxy/main.ts   migration: scripts/migrate.ts   operators' command line: cli/main.ts
ENTRYPOINT ["node", "scripts/run.cjs"]
CMD ["workers/main.ts"]
