// A certified OpenID provider with three machine clients, on a free port of 127.0.0.1.
//
// Reads one line of JSON from standard input: {"secret": ..., "public_keys": [JWK, ...]}. Writes one line when it
// listens: {"issuer": ...}. Ends when its standard input does, so that it never outlives the tests.
//
// The parameter `audience` of a token request decides on the token: with it, a JWT for that audience (a resource of
// RFC 8707); without it, the opaque access token that the provider issues by default.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import { Provider } from 'oidc-provider';

function configuration({ secret, public_keys: publicKeys }) {
  const machine = {
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: 'aws',
  };
  const signingKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  return {
    clients: [
      { ...machine, client_id: 'basic', client_secret: secret, token_endpoint_auth_method: 'client_secret_basic' },
      { ...machine, client_id: 'post', client_secret: secret, token_endpoint_auth_method: 'client_secret_post' },
      {
        ...machine,
        client_id: 'key',
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: publicKeys },
      },
    ],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256'] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx) => ctx.oidc.body?.audience,
        getResourceServerInfo: (_ctx, resource) => ({
          accessTokenFormat: 'jwt',
          audience: resource,
          jwt: { sign: { alg: 'RS256' } },
          scope: 'aws',
        }),
      },
    },
    jwks: { keys: [{ ...signingKey, kid: 'signing', use: 'sig', alg: 'RS256' }] },
    scopes: ['aws', 'admin'], // the clients above may have the first alone
    ttl: { ClientCredentials: 600 },
  };
}

const lines = createInterface({ input: process.stdin });
lines.once('line', (line) => {
  const server = createServer();
  server.listen(0, '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    server.on('request', new Provider(issuer, configuration(JSON.parse(line))).callback());
    process.stdout.write(`${JSON.stringify({ issuer })}\n`);
  });
});
lines.once('close', () => process.exit(0));
