/** The path of one API call: a cookie as far as bff, a bearer token from there on. */
export function Journey() {
  return (
    <figure className="journey">
      <svg viewBox="0 0 420 300" role="img" aria-label="The browser sends a cookie to bff; bff sends a bearer token to the API.">
        <path className="wire cookie" d="M84 214 C 84 120, 150 86, 210 86" />
        <path className="wire bearer" d="M210 86 C 270 86, 336 120, 336 214" />
        <circle className="pulse cookie" r="6" />
        <circle className="pulse bearer" r="6" />
        <g className="node">
          <rect x="24" y="200" width="120" height="64" rx="14" />
          <text x="84" y="228">Browser</text>
          <text className="sub" x="84" y="247">
            this page
          </text>
        </g>
        <g className="node core">
          <rect x="150" y="46" width="120" height="80" rx="18" />
          <text x="210" y="83">bff</text>
          <text className="sub" x="210" y="104">
            holds the tokens
          </text>
        </g>
        <g className="node">
          <rect x="276" y="200" width="120" height="64" rx="14" />
          <text x="336" y="228">API</text>
          <text className="sub" x="336" y="247">
            checks the token
          </text>
        </g>
        <g className="tag cookie">
          <rect x="28" y="126" width="124" height="26" rx="13" />
          <text x="90" y="143">HttpOnly cookie</text>
        </g>
        <g className="tag bearer">
          <rect x="278" y="126" width="108" height="26" rx="13" />
          <text x="332" y="143">Bearer token</text>
        </g>
      </svg>
    </figure>
  )
}
