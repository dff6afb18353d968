// A certified OpenID Connect provider for the tests, with the pages for
// development that it brings: any name of a user below logs in with any
// password. PUT /test/NAME?groups=a,b changes the groups of a user, DELETE
// /test/NAME ends all that was granted to him.
const { MODULE, PORT, CALLBACK, CLIENT_SECRET } = process.env;
const { default: Provider } = await import(MODULE);

const users = new Map([["alice", ["developers"]], ["bob", []]]);
const grants = new Map(); // of a user: IDs

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
	clients: [{
		client_id: "berth", client_secret: CLIENT_SECRET, redirect_uris: [CALLBACK],
		grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
	}],
	cookies: { keys: ["only for tests"] },
	claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
	scopes: ["openid", "profile", "groups", "offline_access"],
	features: { devInteractions: { enabled: true } },
	pkce: { required: () => true },
	async findAccount(ctx, id) {
		if (!users.has(id)) return undefined;
		return { accountId: id, claims: async () => ({ sub: id, preferred_username: id, groups: users.get(id) }) };
	},
});
provider.on("grant.success", (ctx) => {
	const { accountId, grantId } = ctx.oidc.entities.AuthorizationCode ?? ctx.oidc.entities.RefreshToken ?? {};
	if (accountId) grants.set(accountId, (grants.get(accountId) ?? new Set()).add(grantId));
});
provider.use(async (ctx, next) => {
	const [, name] = ctx.path.match(/^\/test\/([a-z]+)$/) ?? [];
	if (!name) return next();
	if (ctx.method === "PUT") users.set(name, ctx.query.groups ? ctx.query.groups.split(",") : []);
	if (ctx.method === "DELETE") {
		for (const id of grants.get(name) ?? []) {
			for (const kind of [provider.RefreshToken, provider.AccessToken]) await kind.revokeByGrantId(id);
			await (await provider.Grant.find(id))?.destroy();
		}
	}
	ctx.status = 204;
});
provider.listen(Number(PORT), "127.0.0.1", () => console.log("ready"));
