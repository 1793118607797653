FROM node:22-bookworm AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Node's own headers are in this image: nothing is fetched for the native module.
RUN npm_config_nodedir=/usr/local npm ci --ignore-scripts && npm_config_nodedir=/usr/local npm rebuild libxmljs2
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY scripts/build.mjs ./scripts/build.mjs
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:22-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
USER node
ENTRYPOINT ["node", "dist/ovaferry.js"]
# It needs nothing to write to but /tmp: run it with --read-only --tmpfs /tmp.
CMD ["worker", "--listen", "127.0.0.1:9464"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9464/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
