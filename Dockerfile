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
COPY workflows workflows
COPY activities activities
COPY authority authority
COPY store store
COPY workers workers
COPY api api
COPY telemetry telemetry
COPY migrations migrations
COPY scripts/migrate.ts scripts/migrate.ts
USER node
# worker: workers/main.ts   API: api/main.ts   migration: scripts/migrate.ts
ENTRYPOINT ["node", "--import", "tsx"]
CMD ["workers/main.ts"]
