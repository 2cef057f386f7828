export function Orders({ list }) {
  return (
    <ul>
      {list.map((order) => (
        <li key={order.number}>
          Order {order.number}: {order.what}
        </li>
      ))}
    </ul>
  )
}
