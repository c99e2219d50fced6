/** The names of `paths` in dashboard/app/src/transport.ts, which the bundler puts here. */
declare const PATHS: string[];

/** allowed says what the page may ask of the daemon. Text that came from the network is shown in it: it must not be able to end services. */
export function allowed(path: string | undefined, stream: boolean): boolean {
	return path !== undefined && (stream ? path === "/v1/events" : path.startsWith("/v1/") && PATHS.includes(path.slice(4)));
}
