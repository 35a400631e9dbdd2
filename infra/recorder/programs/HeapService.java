import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/** A JVM service: per request it keeps a session for a while and sorts and groups strings. Arguments: port, session kB, ttl s, work. */
public final class HeapService {
    private record Session(long untilNanos, byte[] state) {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        int sessionBytes = Integer.parseInt(args[1]) * 1024;
        long ttlNanos = Long.parseLong(args[2]) * 1_000_000_000L;
        int work = Integer.parseInt(args[3]);
        ArrayDeque<Session> sessions = new ArrayDeque<>();
        long served = 0;
        try (ServerSocket server = new ServerSocket(port, 16, InetAddress.getLoopbackAddress())) {
            while (true) {
                try (Socket client = server.accept();
                     BufferedReader in = new BufferedReader(new InputStreamReader(client.getInputStream()));
                     PrintWriter out = new PrintWriter(client.getOutputStream(), true)) {
                    while (in.readLine() != null) {
                        long now = System.nanoTime();
                        byte[] state = new byte[sessionBytes];
                        Arrays.fill(state, (byte) served);
                        sessions.addLast(new Session(now + ttlNanos, state));
                        while (sessions.peekFirst().untilNanos() < now) {
                            sessions.removeFirst();
                        }
                        out.println("ok " + query(work, served++) + " " + sessions.size());
                    }
                } catch (java.io.IOException closed) {
                    // the client went away: wait for the next one
                }
            }
        }
    }

    private static int query(int work, long seed) {
        String[] names = new String[work * 20];
        for (int i = 0; i < names.length; i++) {
            names[i] = String.valueOf(100_000 + (seed * 31 + i * 7919L) % 100_003);
        }
        Arrays.sort(names);
        Map<String, Integer> groups = new HashMap<>();
        for (String name : names) {
            groups.merge(name.substring(0, 3), 1, Integer::sum);
        }
        return groups.size();
    }
}
