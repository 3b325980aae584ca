// What every module draws with: Preact and htm, served from this package.
export {
  html,
  render,
  useState,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useCallback,
  useErrorBoundary,
} from "../vendor/preact-htm.js";
